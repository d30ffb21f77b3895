// Tabs within a page: one pane at a time; arrow keys go from tab to tab, as users of a screen reader expect.

for (const list of document.querySelectorAll("[data-tabs]")) {
  const tabs = [...list.querySelectorAll("[role='tab']")];
  const open = (selected) => {
    for (const tab of tabs) {
      const isSelected = tab === selected;
      const pane = document.getElementById(tab.getAttribute("aria-controls"));
      tab.setAttribute("aria-selected", String(isSelected));
      tab.tabIndex = isSelected ? 0 : -1;
      pane.hidden = !isSelected;
      if (isSelected) pane.dispatchEvent(new CustomEvent("opened"));
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
