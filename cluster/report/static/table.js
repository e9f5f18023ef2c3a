/* The table of all videos: filled, filtered and sorted from data in the page. Text goes in as text, never as HTML. */
(() => {
  const MOST = 1500;
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key in element && key !== "list") element[key] = value; else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };
  const order = { verdict: ["bad", "look", "good", ""], status: ["failed", "quarantined", "skipped", "ok"] };

  raydub.startTable = (page) => {
    const data = JSON.parse(page.querySelector(".table-data").textContent);
    const { columns, rows } = data;
    const place = new Map(columns.map((column, number) => [column.key, number]));
    const state = { sort: null, down: false, words: "", verdict: new Set(), status: new Set(), limits: [], all: false };
    const find = (name) => page.querySelector(name);
    const head = find(".videos thead"), body = find(".videos tbody");
    find(".tools").hidden = false;
    rows.forEach((row, number) => {
      row.number = number;
      row.text = [row.note, ...row.cells.filter((cell) => typeof cell === "string")].join(" ").toLowerCase();
    });

    const compare = (column) => {
      const at = place.get(column.key), ranks = order[column.kind];
      const value = ranks ? (row) => ranks.indexOf(row.cells[at]) : (row) => row.cells[at];
      const both = column.kind === "number" || ranks
        ? (one, other) => one - other
        : (one, other) => one.localeCompare(other, undefined, { numeric: true });
      return (one, other) => {
        const a = value(one), b = value(other);
        const absent = (a === null || a === "") - (b === null || b === "");
        if (absent) return absent;  // what was not measured is last, whichever way
        return (a === null || a === "" ? 0 : both(a, b) * (state.down ? -1 : 1)) || one.number - other.number;
      };
    };
    const passes = (row) =>
      (!state.words || state.words.split(/\s+/).every((word) => row.text.includes(word))) &&
      (!state.verdict.size || state.verdict.has(row.cells[place.get("verdict")])) &&
      (!state.status.size || state.status.has(row.cells[place.get("status")])) &&
      state.limits.every(({ key, sign, value }) => {
        const cell = row.cells[place.get(key)];
        return cell !== null && (sign === "≥" ? cell >= value : cell <= value);
      });

    const cell = (column, row) => {
      const value = row.cells[place.get(column.key)];
      if (column.kind === "name") {
        const name = row.href ? make("a", { href: row.href }, make("bdi", {}, value)) : make("bdi", {}, value);
        return make("th", { scope: "row" }, name, ...(row.note ? [make("small", {}, row.note)] : []));
      }
      if (column.kind === "number") {
        return make("td", { className: "num" }, value === null ? "–" : value.toFixed(column.digits));
      }
      if (column.kind === "text") return make("td", {}, value || "–");
      return make("td", {}, value ? make("span", { className: `badge ${value}` }, value) : "–");
    };
    // A row is built once for the columns that are shown; sorting and filtering only move it.
    const line = (row, visible, shown) => {
      if (row.shown !== shown) {
        row.element = make("tr", {}, ...visible.map((column) => cell(column, row)));
        row.shown = shown;
      }
      return row.element;
    };
    const draw = () => {
      const found = rows.filter(passes);
      const sorted = columns.find((column) => column.key === state.sort);
      if (sorted) found.sort(compare(sorted));
      const visible = columns.filter((column) => column.shown);
      const some = state.all ? found : found.slice(0, MOST);
      const shown = visible.map((column) => column.key).join(" ");
      body.replaceChildren(...some.map((row) => line(row, visible, shown)));
      head.replaceChildren(make("tr", {}, ...visible.map((column) => {
        const button = make("button", { type: "button" }, column.label);
        button.addEventListener("click", () => { sortBy(column.key); head.querySelector(`[data-key="${CSS.escape(column.key)}"] button`)?.focus(); });
        const th = make("th", { scope: "col", className: column.kind === "number" ? "num" : "" }, button);
        th.dataset.key = column.key;
        if (column.key === state.sort) th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        return th;
      })));
      const said = found.length === rows.length ? `${rows.length} videos` : `${found.length} of ${rows.length} videos`;
      find(".count").textContent = said + (sorted ? `, by ${sorted.label}` : "");
      find(".rest").hidden = some.length === found.length;
      find(".rest").textContent = `Show all ${found.length}`;
      select.value = state.sort === null ? "" : `${state.sort} ${state.down ? "down" : "up"}`;
    };
    const sortBy = (key) => {
      state.down = state.sort === key ? !state.down : false;
      state.sort = key;
      draw();
    };

    const select = find(".sort");
    select.append(make("option", { value: "" }, "manifest"));
    for (const column of columns) {
      const text = column.kind === "number" ? ["lowest first", "highest first"] : ["first to last", "last to first"];
      select.append(make("option", { value: `${column.key} up` }, `${column.label}, ${text[0]}`));
      select.append(make("option", { value: `${column.key} down` }, `${column.label}, ${text[1]}`));
    }
    select.addEventListener("change", () => {
      const [, key, way] = /^(.*) (up|down)$/.exec(select.value) || [null, null, "up"];
      Object.assign(state, { sort: key, down: way === "down" });
      draw();
    });

    const chips = find(".chips");
    const chip = (kind, value) => {
      const count = rows.filter((row) => row.cells[place.get(kind)] === value).length;
      if (!count) return;
      const button = make("button", { type: "button" }, `${value || "no verdict"} ${count}`);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        const on = state[kind].has(value);
        state[kind][on ? "delete" : "add"](value);
        button.setAttribute("aria-pressed", String(!on));
        draw();
      });
      chips.append(button);
    };
    if (rows.some((row) => row.cells[place.get("verdict")])) data.verdicts.forEach((value) => chip("verdict", value));
    const judged = chips.childElementCount;
    data.statuses.forEach((value) => chip("status", value));
    if (judged) chips.children[judged]?.classList.add("first");

    const numbers = columns.filter((column) => column.kind === "number");
    const readLimits = () => {
      state.limits = [...page.querySelectorAll(".limits > div")].flatMap((line) => {
        const [key, sign, value] = [...line.querySelectorAll("select, input")].map((field) => field.value);
        return value === "" ? [] : [{ key, sign, value: Number(value) }];
      });
      draw();
    };
    find(".add").addEventListener("click", () => {
      const figure = make("select", {}, ...numbers.map((column) => make("option", { value: column.key }, column.label)));
      const sign = make("select", { className: "sign" }, make("option", {}, "≥"), make("option", {}, "≤"));
      const value = make("input", { type: "number", step: "any" });
      const remove = make("button", { type: "button" }, "×");
      figure.setAttribute("aria-label", "Figure");
      sign.setAttribute("aria-label", "Comparison");
      value.setAttribute("aria-label", "Value");
      remove.setAttribute("aria-label", "Remove this filter");
      const line = make("div", {}, figure, sign, value, remove);
      line.addEventListener("input", readLimits);
      remove.addEventListener("click", () => { line.remove(); readLimits(); find(".add").focus(); });
      find(".limits").append(line);
      figure.focus();
    });
    for (const column of columns) {
      if (column.kind === "name") continue;
      const box = make("input", { type: "checkbox", checked: column.shown });
      box.addEventListener("change", () => { column.shown = box.checked; draw(); });
      find(".columns").append(make("label", {}, box, column.label));
    }
    find(".find").addEventListener("input", (event) => { state.words = event.target.value.trim().toLowerCase(); draw(); });
    find(".rest").addEventListener("click", () => { state.all = true; draw(); });
    draw();
  };
})();
