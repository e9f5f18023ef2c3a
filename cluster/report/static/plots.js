/* Plots of one video, drawn by plotly when they come near the window. The player's place is a line over them, and a click
   is a seek. Plots are hidden from screen readers, which get the sentence above and the table below. */
(() => {
  const NAMES = { speech_db: "speech level", wanted: "opening wanted by the speech", drawn: "opening drawn", source: "opening in the source", gate: "new mouth", delay: "delay of the mouth" };
  const INKS = {
    light: { speech_db: "#5b6673", wanted: "#b35c00", drawn: "#1756c4", source: "#9aa3ad", gate: "#0f7a3c", delay: "#8a2bb0", text: "#555e68", line: "#dde1e5", cue: "rgba(23,86,196,.10)" },
    dark: { speech_db: "#a3adb8", wanted: "#f2a65a", drawn: "#8ab4ff", source: "#67717c", gate: "#6fd39a", delay: "#d49bf0", text: "#a3adb8", line: "#2d353f", cue: "rgba(138,180,255,.13)" },
  };
  const LEFT = 52, RIGHT = 14, BOTTOM = 26;
  let library = null;
  const plotly = () => {
    library ??= new Promise((done, fail) => {
      const script = document.createElement("script");
      const how = document.body.dataset.plotly;
      if (how === "inline") {
        script.textContent = document.getElementById("plotly-source").textContent;
        document.head.append(script);
        window.Plotly ? done(window.Plotly) : fail(new Error("the library did not start"));
        return;
      }
      script.addEventListener("load", () => done(window.Plotly));
      script.addEventListener("error", () => fail(new Error(`${how} is missing`)));
      script.src = how;
      document.head.append(script);
    });
    return library;
  };
  const known = (values) => values.filter((value) => value !== null);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const middle = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

  const inWords = (data, length) => {
    const { curves } = data, said = [];
    const level = known(curves.speech_db || []);
    if (level.length) said.push(`Speech reaches ${Math.max(...level.map((v) => v)).toFixed(0)} dB and is above −40 dB for ${Math.round((100 * level.filter((v) => v > -40).length) / curves.speech_db.length)} % of ${length.toFixed(1)} s`);
    const pairs = (curves.drawn || []).map((value, at) => [value, (curves.wanted || [])[at] ?? null]).filter(([a, b]) => a !== null && b !== null);
    if (pairs.length > 2) {
      const [a, b] = [0, 1].map((side) => pairs.map((pair) => pair[side]));
      const [ma, mb] = [mean(a), mean(b)];
      const top = mean(pairs.map(([x, y]) => (x - ma) * (y - mb))), foot = Math.sqrt(mean(a.map((x) => (x - ma) ** 2)) * mean(b.map((y) => (y - mb) ** 2)));
      if (foot > 0) said.push(`the drawn opening follows the wanted one with a correlation of ${(top / foot).toFixed(2)}`);
    }
    const gate = known(curves.gate || []);
    if (gate.length) said.push(`a new mouth shows in ${Math.round((100 * gate.filter((v) => v > 0).length) / gate.length)} % of the frames`);
    const delays = known(data.delay_ms);
    if (delays.length) {
      const late = Math.round(middle(delays));
      said.push(`the mouth is ${late < 0 ? "early" : "late"} by ${Math.abs(late)} ms in the median`);
    }
    if (data.cues.length) said.push(`there are ${data.cues.length} cues`);
    const text = said.join("; ");
    return text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "";
  };

  const table = (data, length, into) => {
    const names = Object.keys(data.curves), step = Math.max(1, Math.ceil(length / 600));
    const row = (cells, tag) => {
      const line = document.createElement("tr");
      for (const text of cells) {
        const cell = document.createElement(tag);
        if (tag === "th") cell.scope = "col"; else cell.className = "num";
        cell.textContent = text;
        line.append(cell);
      }
      return line;
    };
    const made = document.createElement("table"), head = made.createTHead(), body = made.createTBody();
    head.append(row(["Second", ...names.map((name) => NAMES[name])], "th"));
    for (let second = 0; second < length; second += step) {
      const cells = names.map((name) => {
        const some = known(data.curves[name].slice(Math.round(second * data.rate), Math.round((second + step) * data.rate)));
        return some.length ? mean(some).toFixed(name === "speech_db" ? 1 : 2) : "–";
      });
      body.append(row([second, ...cells], "td"));
    }
    into.replaceChildren(made);
  };

  raydub.startPlots = (page, player) => {
    const section = page.querySelector(".plots");
    if (!section) return;
    const data = JSON.parse(section.querySelector(".plot-data").textContent);
    const box = section.querySelector(".plot"), canvas = section.querySelector(".canvas"), cursor = section.querySelector(".cursor");
    const counts = Object.values(data.curves).map((values) => values.length);
    const length = Math.max(0.1, Math.max(0, ...counts) / data.rate, data.delay_ms.length * data.delay_step && Math.max(0, ...counts) / data.rate, ...data.cues.map((cue) => cue[1]));
    section.querySelector(".summary").textContent = inWords(data, length);
    section.querySelector(".numbers").addEventListener("toggle", (event) => {
      if (event.target.open) table(data, length, event.target.querySelector(".scroll"));
    });
    let range = [0, length], drawn = false, seconds = player ? player.seconds() : 0;

    const bands = [["speech_db"], ["wanted", "drawn", "source"], ["gate"]].map((names) => names.filter((name) => data.curves[name])).filter((names) => names.length);
    if (data.delay_ms.some((value) => value !== null)) bands.push(["delay"]);
    const heights = { speech_db: 90, wanted: 190, drawn: 190, source: 190, gate: 72, delay: 90 };
    const titles = { speech_db: "dB", wanted: "opening", drawn: "opening", source: "opening", gate: "new mouth", delay: "ms late" };
    const axes = { gate: [0, 1.08], speech_db: [-66, 0] };

    const picture = () => {
      const ink = INKS[raydub.dark() ? "dark" : "light"];
      const room = bands.map((names) => heights[names[0]]), gap = 16, cueRoom = data.cues.length ? 24 : 6;
      const inside = room.reduce((sum, one) => sum + one, 0) + gap * (bands.length - 1) + cueRoom;
      const layout = {
        height: inside + BOTTOM + 6, margin: { l: LEFT, r: RIGHT, t: 6, b: BOTTOM }, showlegend: false,
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "x", hoverdistance: 20,
        dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
        font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: ink.text },
        xaxis: { range, color: ink.text, gridcolor: ink.line, zeroline: false, ticksuffix: " s", anchor: `y${bands.length > 1 ? bands.length : ""}` },
        shapes: [], annotations: [],
      };
      const traces = [];
      let top = 1 - cueRoom / inside;
      bands.forEach((names, number) => {
        const foot = top - room[number] / inside, axis = number ? `y${number + 1}` : "y";
        layout[number ? `yaxis${number + 1}` : "yaxis"] = {
          domain: [Math.max(0, foot), top], fixedrange: true, color: ink.text, gridcolor: ink.line, zerolinecolor: ink.line, nticks: 3,
          title: { text: titles[names[0]], standoff: 2 }, ...(axes[names[0]] ? { range: axes[names[0]] } : {}),
        };
        for (const name of names) {
          const late = name === "delay";
          const values = late ? data.delay_ms : data.curves[name];
          traces.push({
            x: values.map((_, at) => (late ? (at + 0.5) * data.delay_step : at / data.rate)), y: values, yaxis: axis, type: "scatter",
            mode: late ? "lines+markers" : "lines", name: NAMES[name], connectgaps: false, hovertemplate: `%{y} ${NAMES[name]}<extra></extra>`,
            line: { color: ink[name], width: name === "drawn" ? 2 : 1.4, dash: name === "wanted" ? "dash" : "solid", shape: name === "gate" ? "hv" : "linear" },
            ...(name === "gate" ? { fill: "tozeroy", fillcolor: `${ink.gate}33` } : {}),
          });
        }
        top = foot - gap / inside;
      });
      for (const [start, stop, text] of data.cues) {
        layout.shapes.push({ type: "rect", x0: start, x1: stop, y0: 0, y1: 1, yref: "paper", fillcolor: ink.cue, line: { width: 0 }, layer: "below" });
        // Cut to its own time: names would run into each other.
        const letters = Math.max(0, Math.floor(((stop - start) / (range[1] - range[0])) * (canvas.clientWidth || 800) / 6.2) - 1);
        const short = text.length > letters ? `${text.slice(0, Math.max(0, letters - 1))}…` : text;
        if (letters > 2) layout.annotations.push({ x: start, xanchor: "left", y: 1, yref: "paper", yanchor: "top", showarrow: false, text: plain(short), font: { size: 11, color: ink.text }, align: "left" });
      }
      return [traces, layout];
    };
    // plotly reads a few tags in its texts; the texts of cues have none.
    const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

    const moveCursor = () => {
      const width = canvas.clientWidth - LEFT - RIGHT, share = (seconds - range[0]) / (range[1] - range[0]);
      cursor.hidden = !drawn || share < 0 || share > 1;
      cursor.style.left = `${LEFT + share * width}px`;
    };
    const draw = async () => {
      try {
        const Plotly = await plotly(), [traces, layout] = picture();
        await Plotly.react(canvas, traces, layout, { displayModeBar: false, responsive: true, doubleClick: false, showTips: false });
        if (!drawn) {
          canvas.on("plotly_relayout", (change) => {
            const now = canvas.layout.xaxis.range;
            if (!now || !Object.keys(change).some((key) => key.startsWith("xaxis.range"))) return;
            zoom(now.map(Number));
          });
        }
        drawn = true;
        const ink = INKS[raydub.dark() ? "dark" : "light"];
        section.querySelector(".legend").replaceChildren(...bands.flat().map((name) => {
          const entry = document.createElement("span");
          entry.textContent = NAMES[name];
          entry.style.setProperty("--ink", ink[name]);
          entry.style.setProperty("--dash", name === "wanted" ? "dashed" : "solid");
          return entry;
        }));
        section.querySelector(".plot-tools").hidden = false;
        moveCursor();
        canvas.dataset.drawn = "yes";
      } catch (error) {
        canvas.textContent = `The plots cannot be drawn: ${error.message}.`;
      }
    };
    const zoom = ([from, to]) => {
      const wide = Math.min(length, Math.max(0.2, to - from)), start = Math.min(Math.max(0, from), length - wide);
      const next = [start, start + wide];
      if (next[0] === range[0] && next[1] === range[1]) return;
      range = next;
      draw();
    };
    section.querySelector(".zoom").addEventListener("click", (event) => {
      const factor = event.target.dataset.zoom;
      if (factor === undefined) return;
      const wide = Number(factor) ? (range[1] - range[0]) * Number(factor) : length;
      const around = seconds >= range[0] && seconds <= range[1] ? seconds : (range[0] + range[1]) / 2;
      zoom([around - wide / 2, around + wide / 2]);
    });

    let down = null;
    box.addEventListener("pointerdown", (event) => { down = [event.clientX, event.clientY]; }, true);
    // plotly covers the window while a button is down, so the end of a click arrives there.
    window.addEventListener("pointerup", (event) => { seekTo(event); down = null; }, true);
    box.addEventListener("dblclick", () => zoom([0, length]), true);
    const seekTo = (event) => {
      if (!down || Math.hypot(event.clientX - down[0], event.clientY - down[1]) > 4 || !player) return;
      const left = canvas.getBoundingClientRect().left + LEFT, width = canvas.clientWidth - LEFT - RIGHT;
      const share = (event.clientX - left) / width;
      if (share >= 0 && share <= 1) player.seek(range[0] + share * (range[1] - range[0]));
    };
    if (player) player.watch((now) => { seconds = now; moveCursor(); });
    new ResizeObserver(moveCursor).observe(box);
    raydub.themes.push(() => { if (drawn) draw(); });
    new IntersectionObserver((seen, watch) => {
      if (!seen.some((one) => one.isIntersecting)) return;
      watch.disconnect();
      draw();
    }, { rootMargin: "300px" }).observe(box);
  };
})();
