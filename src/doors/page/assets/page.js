"use strict";
// Everything works without this script. It makes some things quicker: search as one types, copying, and the tabs of a narrow window.
const form = document.querySelector("form[data-live]");
if (form) {
  let timer, current;
  const search = async () => {
    const query = new URLSearchParams(new FormData(form));
    for (const [key, value] of [...query]) if (!value) query.delete(key);
    const url = form.action + (query.size ? "?" + query : "");
    current?.abort();
    current = new AbortController();
    try {
      const response = await fetch(url, { signal: current.signal });
      if (!response.ok) return location.assign(url);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      document.getElementById("result").replaceWith(page.getElementById("result"));
      history.replaceState(null, "", url);
    } catch (error) {
      if (error.name !== "AbortError") location.assign(url);
    }
  };
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 250); });
}
// The tabs of a narrow window scroll to the present page.
const here = document.querySelector("nav [aria-current]");
if (here) here.parentNode.scrollLeft = here.offsetLeft - here.parentNode.offsetLeft - (here.parentNode.clientWidth - here.offsetWidth) / 2;
const button = (text, act) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", () => act(made));
  return made;
};
for (const field of document.querySelectorAll("[data-copy]")) {
  const tools = document.createElement("div");
  tools.className = "tools";
  tools.append(button("Copy", async (made) => {
    await navigator.clipboard.writeText(field.value);
    made.textContent = "Copied";
  }));
  if (field.dataset.file) tools.append(button("Save as a file", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([field.value], { type: "text/csv" }));
    link.download = field.dataset.file;
    link.click();
    URL.revokeObjectURL(link.href);
  }));
  field.after(tools);
}
