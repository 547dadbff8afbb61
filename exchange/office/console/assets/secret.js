// A signing secret, made in the browser: {% import "secrets.html" as secrets %}.
export function secret(form) {
  const root = form.querySelector("[data-secret]");
  root?.querySelector("[data-make]").addEventListener("click", () => {
    const input = root.querySelector("input");
    input.value = `whsec_${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))))}`;
    input.focus();
    input.select();
  });
}
