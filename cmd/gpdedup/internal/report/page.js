(function () {
  "use strict";
  // Without this the page follows the system; the button only overrides it.
  var root = document.documentElement, button = document.getElementById("theme");
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function current() { return root.getAttribute("data-theme") || (dark.matches ? "dark" : "light"); }
  function label() { button.textContent = current() === "dark" ? "Light" : "Dark"; }
  try {
    var kept = localStorage.getItem("gpdedup-theme");
    if (kept === "dark" || kept === "light") { root.setAttribute("data-theme", kept); }
  } catch (e) { /* a page that was opened from a file may keep nothing */ }
  button.hidden = false;
  button.addEventListener("click", function () {
    var next = current() === "dark" ? "light" : "dark";
    root.setAttribute("data-theme", next);
    try { localStorage.setItem("gpdedup-theme", next); } catch (e) { /* likewise */ }
    label();
  });
  if (dark.addEventListener) { dark.addEventListener("change", label); }
  label();
})();
