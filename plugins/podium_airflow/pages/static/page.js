"use strict";

// Airflow shows the page in a frame, out of which only a click in the parent's own document leads.
const framed = window.parent !== window;

function parentDocument() {
  try {
    return framed ? window.parent.document : null;
  } catch {
    return null;
  }
}

function followTheme() {
  const outer = parentDocument();
  if (!outer) return;
  const root = outer.documentElement;
  const set = () => {
    document.documentElement.dataset.theme = root.classList.contains("dark") ? "dark" : "light";
  };
  new MutationObserver(set).observe(root, { attributes: true, attributeFilter: ["class"] });
  set();
}

function clickOutside(href, inNewTab) {
  const outer = parentDocument();
  const link = outer.createElement("a");
  link.href = href;
  if (inNewTab) {
    link.target = "_blank";
    link.rel = "noopener";
  }
  outer.body.append(link);
  link.click();
  link.remove();
}

function followLinks() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-leaves]");
    if (!link || !parentDocument()) return;
    event.preventDefault();
    clickOutside(link.href, link.dataset.leaves === "tab");
  });
}

function count(text) {
  return (text.match(/[\p{L}\p{N}]/gu) || []).length;
}

function watchReasons() {
  for (const field of document.querySelectorAll("textarea[data-least]")) {
    const least = Number(field.dataset.least);
    const told = document.getElementById(field.dataset.counter);
    const wrong = document.getElementById(field.dataset.wrong);
    const show = () => {
      const missing = least - count(field.value);
      told.textContent =
        missing > 0 ? `${count(field.value)} of at least ${least} letters and digits` : `${count(field.value)} letters and digits`;
      if (missing <= 0) {
        wrong.textContent = "";
        field.removeAttribute("aria-invalid");
      }
    };
    field.addEventListener("input", show);
    show();
    field.form.addEventListener("submit", (event) => {
      if (count(field.value) >= least) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      wrong.textContent = `Not sent: the reason has ${count(field.value)} letters and digits, at least ${least} are required.`;
      field.setAttribute("aria-invalid", "true");
      field.focus();
    });
  }
}

function sendOnce() {
  for (const form of document.querySelectorAll("form[method=post]")) {
    form.addEventListener("submit", () => {
      // After the browser has taken the value of the button that was pressed.
      // A button of another part of the page can belong to the form.
      const buttons = [...form.elements].filter((field) => field.type === "submit");
      setTimeout(() => buttons.forEach((button) => (button.disabled = true)), 0);
    });
  }
  window.addEventListener("pageshow", () =>
    document.querySelectorAll("button").forEach((button) => (button.disabled = false)),
  );
}

function filterModels() {
  const table = document.getElementById("models");
  if (!table) return;
  const search = document.getElementById("search");
  const state = document.getElementById("state");
  const told = document.getElementById("shown");
  const rows = [...table.tBodies[0].rows];
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits =
        words.every((word) => row.dataset.words.includes(word)) && (!state.value || row.dataset.state === state.value);
      row.hidden = !fits;
      shown += fits;
    }
    told.textContent = `${shown} of ${rows.length} shown`;
  };
  search.addEventListener("input", show);
  state.addEventListener("change", show);
  for (const lens of document.querySelectorAll("input[name=lens]")) {
    const set = () => {
      if (lens.checked) table.closest("[data-lens]").dataset.lens = lens.value;
    };
    lens.addEventListener("change", set);
    set();
  }
  show();
}

function typing() {
  return [...document.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue);
}

// A page that waits for something asks whether it has happened, and shows itself again when it has.
function look() {
  const page = document.body.dataset;
  if (!page.watch) return;
  const ask = async () => {
    let changed = false;
    let ended = false;
    try {
      const answer = await fetch(page.watch, { headers: { Accept: "application/json" } });
      const told = answer.ok ? await answer.json() : null;
      changed = told !== null && (String(told.newest) !== page.newest || (told.done === true && page.done !== "yes"));
      ended = told !== null && told.ended === true;
      const state = document.getElementById("run-state");
      if (state && told && told.run) state.textContent = told.run;
    } catch {
      changed = false;
    }
    if (!changed && ended) return;
    if (!changed) setTimeout(ask, Number(page.every));
    else if (typing()) document.getElementById("changed").hidden = false;
    else window.location.reload();
  };
  setTimeout(ask, Number(page.every));
}

async function loadPart(id, what) {
  const place = document.getElementById(id);
  if (!place) return;
  try {
    const answer = await fetch(place.dataset.from);
    place.innerHTML = answer.ok ? await answer.text() : "";
    if (!answer.ok) place.textContent = `${what} are not available: Airflow answered ${answer.status}.`;
  } catch {
    place.textContent = `${what} are not available: Airflow did not answer.`;
  }
  place.removeAttribute("aria-busy");
}

// An open window is shown as it grows, without the rest of the page: somebody may be filling in a form.
function followWatch() {
  const place = document.getElementById("watch");
  if (!place) return;
  const ask = async () => {
    try {
      const answer = await fetch(place.dataset.from);
      if (answer.ok) place.innerHTML = await answer.text();
    } finally {
      setTimeout(ask, place.querySelector("table") ? 3000 : 30000);
    }
  };
  ask();
}

followTheme();
followLinks();
watchReasons();
sendOnce();
filterModels();
look();
loadPart("pictures", "The pictures");
loadPart("old", "The old versions");
followWatch();
