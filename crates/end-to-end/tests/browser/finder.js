// Arguments: what it is, its name, and a text that the part of the page around it shows, if that matters.
// Answers with the element that a person means, or null.
const [kind, name, around] = arguments;
const KINDS = {
  button: 'button, input[type=submit], [role=button], summary',
  link: 'a[href]',
  field: 'input:not([type=hidden]):not([type=submit]), select, textarea',
  heading: 'h1, h2, h3, [role=heading]',
};
const PARTS = 'tr, li, article, section, form, fieldset, details, .card, main';
const tidy = text => (text || '').replace(/\s+/g, ' ').trim();
const shown = element => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
const withoutControls = label => {
  const copy = label.cloneNode(true);
  for (const control of copy.querySelectorAll('input, select, textarea, button, .hint, .error')) control.remove();
  return copy.textContent;
};
const nameOf = element => {
  const ids = element.getAttribute('aria-labelledby');
  if (ids) return tidy(ids.split(/\s+/).map(id => document.getElementById(id)?.textContent).join(' '));
  if (element.getAttribute('aria-label')) return tidy(element.getAttribute('aria-label'));
  if (element.labels?.length) return tidy([...element.labels].map(withoutControls).join(' '));
  if (element.tagName === 'INPUT' && element.type === 'submit') return tidy(element.value);
  return tidy(element.innerText) || tidy(element.title);
};
const root = [...document.querySelectorAll('dialog[open]')].at(-1) || document;
const candidates = [...root.querySelectorAll(KINDS[kind])].filter(shown).filter(element => {
  for (let part = element.closest(PARTS); around && part; part = part.parentElement?.closest(PARTS)) {
    if (part.tagName === 'MAIN') return false;
    if (tidy(part.innerText).includes(around)) return true;
  }
  return !around;
});
const tests = [n => n === name, n => n.toLowerCase() === name.toLowerCase(), n => n.startsWith(name), n => n.includes(name)];
for (const test of tests) {
  const found = candidates.find(element => test(nameOf(element)));
  if (found) return found;
}
return null;
