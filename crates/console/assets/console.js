// What makes pages nicer where scripts run. Every page works without it.
(() => {
  "use strict";

  // Nobody sends a form twice by an impatient second press.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method === "dialog" || form.hasAttribute("data-again")) return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    const button = event.submitter;
    if (button) button.setAttribute("aria-busy", "true");
    // A download leaves the page standing; its form must work again.
    setTimeout(() => release(form), 8000);
  });
  const release = (form) => {
    delete form.dataset.sent;
    form.querySelectorAll("[aria-busy]").forEach((button) => button.removeAttribute("aria-busy"));
  };
  // Back from the next page, out of the browser's memory.
  addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(release));
  document.addEventListener("htmx:after:request", () => document.querySelectorAll("form[data-sent]").forEach(release));

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    // A button beside an id puts it on the clipboard: <button type="button" data-copy="#where">.
    const copy = target.closest("[data-copy]");
    if (copy) {
      const from = document.querySelector(copy.getAttribute("data-copy"));
      if (from && navigator.clipboard) {
        navigator.clipboard.writeText((from.value ?? from.textContent).trim()).then(() => {
          copy.setAttribute("data-copied", "yes");
          setTimeout(() => copy.removeAttribute("data-copied"), 2000);
        });
      }
    }
    // <button type="button" data-dialog="#id"> opens a dialog, data-close closes the one it stands in.
    const opener = target.closest("[data-dialog]");
    if (opener) {
      const dialog = document.querySelector(opener.getAttribute("data-dialog"));
      if (dialog && dialog.showModal) dialog.showModal();
    }
    if (target.closest("[data-close]")) target.closest("dialog")?.close();
    // Menus close when one clicks beside them.
    document.querySelectorAll("details.person[open], details.pop[open]").forEach((menu) => {
      if (!menu.contains(target)) menu.open = false;
    });
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    document.querySelectorAll("details.person[open], details.pop[open]").forEach((menu) => {
      menu.open = false;
      menu.querySelector("summary")?.focus();
    });
  });

  // <select data-submit> sends its form at once.
  document.addEventListener("change", (event) => {
    if (event.target.matches?.("[data-submit]")) event.target.form?.requestSubmit();
  });

  // <form data-keys="enter"> sends by Enter, Shift+Enter makes a line.
  document.addEventListener("keydown", (event) => {
    const area = event.target;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && area.matches?.("form[data-keys=enter] textarea")) {
      event.preventDefault();
      if (area.value.trim()) area.form.requestSubmit();
    }
  });

  // A thread shows its end, and stays there while its reader is there.
  const end = (thread) => { thread.scrollTop = thread.scrollHeight; };
  const threads = () => document.querySelectorAll("[data-end]");
  threads().forEach((thread) => {
    end(thread);
    let near = true;
    thread.addEventListener("scroll", () => {
      near = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 80;
    });
    new MutationObserver(() => { if (near) end(thread); }).observe(thread, { childList: true, subtree: true });
  });

  // On a phone the navigation is a strip: it shows where one is.
  document.querySelectorAll(".side [aria-current]").forEach((link) => {
    const strip = link.closest("ul");
    strip.scrollLeft = link.offsetLeft - strip.offsetLeft - (strip.clientWidth - link.offsetWidth) / 2;
  });

  // On a phone a row is shown as a card; each cell carries the name of its column, and the roles that CSS takes from it.
  const card = (table) => {
    const names = Array.from(table.tHead?.rows[0]?.cells ?? [], (cell) => cell.querySelector(".unseen") ? "" : cell.textContent.trim());
    const give = (element, role) => element.hasAttribute("role") || element.setAttribute("role", role);
    give(table, "table");
    table.classList.add("cards");
    table.querySelectorAll("thead, tbody").forEach((group) => give(group, "rowgroup"));
    for (const row of table.rows) {
      if (row.hasAttribute("role")) continue;
      give(row, "row");
      Array.from(row.cells).forEach((cell, at) => {
        const heads = cell.tagName === "TH";
        give(cell, heads ? (row.parentElement.tagName === "THEAD" ? "columnheader" : "rowheader") : "cell");
        if (!heads && names[at] && row.cells.length === names.length) cell.dataset.column = names[at];
      });
    }
  };
  const cards = () => document.querySelectorAll("table.table").forEach((table) => { if (table.tHead) card(table); });
  cards();
  const main = document.getElementById("main");
  if (main) new MutationObserver(cards).observe(main, { childList: true, subtree: true });

  // What is only there for scripts.
  document.documentElement.classList.add("scripted");
})();
