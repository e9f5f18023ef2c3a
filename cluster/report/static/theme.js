"use strict";
/* The colour theme: the system's until the button is pressed; kept where the browser keeps anything. */
const raydub = {};
(() => {
  const key = "raydub-theme";
  const kept = () => { try { return localStorage.getItem(key); } catch { return null; } };
  const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const said = kept();
  if (said === "dark" || said === "light") document.documentElement.dataset.theme = said;
  raydub.dark = dark;
  raydub.themes = [];
  raydub.startTheme = () => {
    const tell = () => raydub.themes.forEach((call) => call());
    for (const button of document.querySelectorAll("button.theme")) {
      button.setAttribute("aria-pressed", dark());
      button.addEventListener("click", () => {
        const next = dark() ? "light" : "dark";
        document.documentElement.dataset.theme = next;
        try { localStorage.setItem(key, next); } catch { /* private mode: for this page only */ }
        button.setAttribute("aria-pressed", dark());
        tell();
      });
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  };
})();
