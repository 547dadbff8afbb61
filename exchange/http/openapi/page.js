// Narrows the list of operations to a word; without this script the whole list is there.
const find = document.getElementById("find");
const menu = document.querySelector(".menu");
const items = [...document.querySelectorAll("[data-find]")];
find.closest("label").hidden = false;
find.addEventListener("input", () => {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const item of items) {
    const text = item.dataset.find.toLowerCase();
    item.hidden = !words.every((word) => text.includes(word));
  }
  for (const group of document.querySelectorAll("[data-group]")) {
    group.hidden = !group.querySelector("[data-find]:not([hidden])");
  }
  document.getElementById("none").hidden = items.some((item) => !item.hidden);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement.tagName !== "INPUT") {
    event.preventDefault();
    menu.open = true;
    find.focus();
  }
});
// On a small screen the contents would fill it: they wait for a touch, and close after a choice.
const small = matchMedia("(max-width: 900px)");
const fit = () => { menu.open = !small.matches; };
small.addEventListener("change", fit);
fit();
menu.addEventListener("click", (event) => {
  if (small.matches && event.target.closest("a")) menu.open = false;
});
// Marks where one is.
const links = new Map([...document.querySelectorAll("nav a[href^='#']")].map((a) => [a.hash.slice(1), a]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting || !links.has(entry.target.id)) continue;
    for (const a of links.values()) a.removeAttribute("aria-current");
    links.get(entry.target.id).setAttribute("aria-current", "true");
  }
}, { rootMargin: "0px 0px -75% 0px" });
for (const article of document.querySelectorAll("article:not(.shape)")) seen.observe(article);
