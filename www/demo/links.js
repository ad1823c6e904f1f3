// Shows the example links with this instance's own address, ready to be copied.
document.querySelector("[data-base]").textContent = new URL("../", location.href.split(/[?#]/)[0]).href;

for (const box of document.querySelectorAll(".copy")) {
  const input = box.querySelector("input");
  const button = box.querySelector("button");
  input.value = new URL(input.dataset.link, location.href).href;
  box.hidden = false;
  button.addEventListener("click", async () => {
    input.select();
    await navigator.clipboard.writeText(input.value);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}
