// Tabs within a page: one pane at a time; arrow keys go from tab to tab, as people who use a screen reader expect.

for (const list of document.querySelectorAll("[data-tabs]")) {
  const tabs = [...list.querySelectorAll("[role='tab']")];
  const open = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      const pane = document.getElementById(tab.getAttribute("aria-controls"));
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      pane.hidden = !isChosen;
      if (isChosen) pane.dispatchEvent(new CustomEvent("opened"));
    }
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role='tab']");
    if (tab) open(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    open(next);
  });
}
