/* Which page is shown, and what is started on it. In a single file the part of the address after # chooses. */
(() => {
  const started = new WeakMap();
  const start = (page) => {
    if (started.has(page)) return;
    started.set(page, null);
    if (page.querySelector(".table-data")) raydub.startTable(page);
    const player = raydub.startPlayer(page);
    started.set(page, player);
    raydub.startPlots(page, player);
    raydub.startPictures(page);
  };
  const route = (moved) => {
    const pages = [...document.querySelectorAll("main.page")];
    const wanted = pages.find((page) => `#${page.id}` === location.hash) || pages[0];
    for (const page of pages) {
      if (page !== wanted) started.get(page)?.pause();
      page.hidden = page !== wanted;
    }
    start(wanted);
    if (pages.length > 1) document.title = `${wanted.dataset.title} · raydub report`;
    if (pages.length < 2) return;
    window.scrollTo(0, 0);
    if (moved) wanted.focus({ preventScroll: true });
  };
  document.addEventListener("DOMContentLoaded", () => {
    raydub.startTheme();
    route(false);
    addEventListener("hashchange", () => route(true));
    document.documentElement.dataset.ready = "yes";
  });
})();
