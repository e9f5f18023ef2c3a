/* Two films under one control. The dubbed one leads; the source follows it to the frame when it stands, and to half a
   frame while it plays. */
(() => {
  const two = (number) => String(number).padStart(2, "0");
  const clock = (seconds) => {
    const all = Math.round(seconds * 100), minutes = Math.floor(all / 6000), rest = all % 6000;
    const hours = Math.floor(minutes / 60);
    const front = hours ? `${hours}:${two(minutes % 60)}` : `${minutes}`;
    return `${front}:${two(Math.floor(rest / 100))}.${two(rest % 100)}`;
  };
  raydub.clock = clock;

  const addressOf = async (text) => {
    if (!text.startsWith("#")) return text;
    const kept = document.getElementById(text.slice(1));
    const bytes = Uint8Array.from(atob(kept.textContent.trim()), (character) => character.charCodeAt(0));
    return URL.createObjectURL(new Blob([bytes], { type: kept.dataset.type }));
  };

  // In a single file a strip of moments is kept once, for all its pictures.
  raydub.startPictures = async (page) => {
    const images = [...page.querySelectorAll("img[data-blob]")];
    const address = images.length ? await addressOf(images[0].dataset.blob) : "";
    images.forEach((image) => { image.src = address; });
  };

  raydub.startPlayer = (page) => {
    const player = page.querySelector(".player");
    if (!player) return null;
    const find = (name) => player.querySelector(name);
    const rate = Number(player.dataset.rate), frames = Number(player.dataset.frames);
    const after = find(".after video"), before = find(".before video"), stage = find(".stage");
    const films = before ? [after, before] : [after];
    const place = find(".place"), time = find(".time"), play = find(".play");
    const watchers = [];
    const style = getComputedStyle(player);
    stage.classList.toggle("wide", Number(style.getPropertyValue("--w")) > Number(style.getPropertyValue("--h")));

    const bounded = (frame) => Math.min(Math.max(Math.round(frame), 0), frames - 1);
    const frameAt = (seconds) => bounded(Math.floor(seconds * rate + 1e-3));
    let frame = 0;
    const show = () => {
      place.value = frame;
      const text = `${clock(frame / rate)} of ${clock(frames / rate)}`;
      place.setAttribute("aria-valuetext", text);
      time.textContent = text.replace(" of ", " / ");
      watchers.forEach((call) => call(frame / rate));
    };
    const seekFrame = (wanted) => {
      frame = bounded(wanted);
      for (const film of films) film.currentTime = (frame + 0.5) / rate;  // the middle of a frame is only in that frame
      show();
    };
    const follow = () => {
      frame = frameAt(after.currentTime);
      show();
      if (!before || before.readyState < 2) return;
      const late = after.currentTime - before.currentTime;
      if (Math.abs(late) > 0.2) before.currentTime = after.currentTime;
      before.playbackRate = after.playbackRate * (Math.abs(late) < 0.5 / rate ? 1 : 1 + Math.max(-0.2, Math.min(0.2, late * 2)));
      if (before.paused) before.play().catch(() => {});
    };
    const tick = () => {
      if (after.paused || after.ended) return;
      follow();
      requestAnimationFrame(tick);
    };
    after.addEventListener("play", () => { play.classList.add("playing"); play.setAttribute("aria-label", "Pause"); tick(); });
    const stopped = () => {
      play.classList.remove("playing");
      play.setAttribute("aria-label", "Play");
      if (before) before.pause();
      seekFrame(frameAt(after.currentTime));
    };
    after.addEventListener("pause", stopped);
    after.addEventListener("ended", stopped);
    const toggle = () => {
      if (!after.paused) { after.pause(); return; }
      if (frame >= frames - 1) seekFrame(0);
      films.forEach((film) => film.play().catch(() => {}));
    };
    play.addEventListener("click", toggle);
    place.addEventListener("input", () => seekFrame(Number(place.value)));
    for (const button of player.querySelectorAll(".step")) {
      button.addEventListener("click", () => { after.pause(); seekFrame(frame + Number(button.dataset.step)); });
    }
    const failed = find(".failed");
    for (const film of films) {
      film.addEventListener("error", () => {
        failed.hidden = false;
        failed.textContent = `The film "${film.getAttribute("aria-label")}" cannot be played by this browser, or is no longer at its place.`;
      });
    }

    const sound = () => {
      const wanted = find(".sound").value;
      after.muted = wanted !== "after";
      if (before) before.muted = wanted !== "before";
    };
    find(".sound").addEventListener("change", sound);
    find(".speed").addEventListener("change", (event) => films.forEach((film) => { film.playbackRate = Number(event.target.value); }));
    find(".view")?.addEventListener("change", (event) => { stage.dataset.view = event.target.value; });

    const divider = find(".divider");
    if (divider) {
      let cut = 50;
      const move = (wanted) => {
        cut = Math.min(100, Math.max(0, wanted));
        stage.style.setProperty("--cut", `${cut}%`);
        divider.setAttribute("aria-valuenow", Math.round(cut));
        divider.setAttribute("aria-valuetext", `source ${Math.round(cut)} %, dubbed ${Math.round(100 - cut)} %`);
      };
      move(50);
      const drag = (event) => {
        const box = stage.getBoundingClientRect();
        move((100 * (event.clientX - box.left)) / box.width);
      };
      divider.addEventListener("pointerdown", (event) => { divider.setPointerCapture(event.pointerId); drag(event); });
      divider.addEventListener("pointermove", (event) => { if (divider.hasPointerCapture(event.pointerId)) drag(event); });
      divider.addEventListener("keydown", (event) => {
        const steps = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
        if (!(event.key in steps)) return;
        move(cut + steps[event.key]);
        event.preventDefault();
        event.stopPropagation();
      });
    }

    document.addEventListener("keydown", (event) => {
      if (page.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest("input:not(.place), select, textarea, summary, .scroll")) return;
      if (event.key === " " && event.target.closest("button, a")) return;
      const range = event.target === place;
      const acts = {
        " ": toggle,
        ArrowLeft: () => seekFrame(frame - rate),
        ArrowRight: () => seekFrame(frame + rate),
        ",": () => { after.pause(); seekFrame(frame - 1); },
        ".": () => { after.pause(); seekFrame(frame + 1); },
        Home: () => seekFrame(0),
      };
      if (!(event.key in acts) || (range && event.key === "Home")) return;
      event.preventDefault();
      acts[event.key]();
    });
    page.addEventListener("click", (event) => {
      const button = event.target.closest(".seek");
      if (!button) return;
      seekFrame(button.dataset.frame ? Number(button.dataset.frame) : Math.ceil(Number(button.dataset.at) * rate - 1e-6));
      if (button.closest(".strip")) player.scrollIntoView({ block: "nearest" });
    });

    const shown = Promise.all([[after, player.dataset.after], [before, player.dataset.before]].map(async ([film, text]) => {
      if (film && text) film.src = await addressOf(text);
    }));
    const ready = shown.then(() => {
      sound();
      const wait = (film) => film.readyState >= 1 ? null : new Promise((go) => { film.addEventListener("loadedmetadata", go, { once: true }); film.addEventListener("error", go, { once: true }); });
      return Promise.all(films.map(wait)).then(() => seekFrame(frame));
    });
    show();
    const control = {
      ready, seek: (seconds) => seekFrame(seconds * rate), watch: (call) => watchers.push(call), seconds: () => frame / rate,
      pause: () => after.pause(),
    };
    player.raydub = control;
    return control;
  };
})();
