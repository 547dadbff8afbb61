// A button that prints the page: <button data-print>.

for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => window.print());
