// Keeps a page fresh. The server draws everything; this asks for the living part again when the feed says that something
// happened, and changes only what is different, so that nothing typed, opened or focused is lost.
(() => {
  'use strict';

  const page = document.body.dataset;
  const live = document.getElementById('live');
  const pulse = document.getElementById('pulse');
  const toasts = document.getElementById('toasts');
  if (!page.fresh || !live || !window.EventSource) return;

  const SOON = 120, APART = 1000, OFTEN = 30000, HIDDEN = 60000, TOAST = 8000; // ms

  // morph makes old like fresh. What a person is about to change is theirs: typed text, ticks, opened details.
  function morph(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    const typed = old.nodeName === 'INPUT' && old.type !== 'hidden' && (old === document.activeElement || old.value !== old.defaultValue || old.checked !== old.defaultChecked);
    for (const { name, value } of [...fresh.attributes]) {
      if (typed && (name === 'value' || name === 'checked')) continue;
      if (name === 'open') continue;
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== 'open' && !(typed && name === 'checked')) old.removeAttribute(name);
    }
    children(old, fresh);
  }

  function children(old, fresh) {
    const byID = new Map();
    for (const c of old.children) if (c.id) byID.set(c.id, c);
    const wanted = new Set([...fresh.children].map((c) => c.id));
    let at = old.firstChild;
    for (const want of [...fresh.childNodes]) {
      const same = want.id && byID.get(want.id);
      if (same) {
        while (at && at !== same && !(at.id && wanted.has(at.id))) { // what goes goes first: a moved element would lose its focus
          const next = at.nextSibling;
          at.remove();
          at = next;
        }
        if (same !== at) old.insertBefore(same, at); else at = at.nextSibling;
        morph(same, want);
      } else if (at && !at.id && !want.id && at.nodeName === want.nodeName) {
        const next = at.nextSibling;
        morph(at, want);
        at = next;
      } else {
        old.insertBefore(want, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  const rows = () => new Map([...live.querySelectorAll('[data-row]')].map((e) => [e.dataset.row, e]));

  // tell announces what is new, where the page is a list.
  function tell(before) {
    if (page.subject) return;
    for (const [id, row] of rows()) {
      if (before.has(id) || row.closest('.ended')) continue;
      row.classList.add('fresh');
      const link = row.querySelector('.title');
      const toast = document.createElement('a');
      toast.className = 'toast';
      toast.href = link.getAttribute('href');
      toast.textContent = (id.startsWith('m') ? '' : 'New: ') + link.textContent;
      toasts.append(toast);
      while (toasts.children.length > 3) toasts.firstChild.remove();
      setTimeout(() => toast.remove(), TOAST);
    }
  }

  let asked = 0, busy = false, again = false, timer = 0;

  async function refresh() {
    timer = 0;
    if (busy) { again = true; return; }
    busy = true;
    asked = Date.now();
    try {
      const got = await fetch(page.fresh, { headers: { Accept: 'text/html' }, cache: 'no-store', signal: AbortSignal.timeout(15000) });
      if (got.redirected) { location.reload(); return; } // logged out meanwhile
      if (got.ok) {
        const fresh = new DOMParser().parseFromString(await got.text(), 'text/html').getElementById('live');
        if (fresh) {
          const before = rows();
          morph(live, fresh);
          document.title = live.dataset.title;
          tell(before);
        }
      }
    } catch { /* the next event, or the next look, tries again */ }
    busy = false;
    if (again) { again = false; soon(); }
  }

  // soon asks once for many events, and at most once a second.
  function soon() {
    if (!timer) timer = setTimeout(refresh, Math.max(SOON, asked + APART - Date.now()));
  }

  function number(id) { return String(id ?? '').replace(/^\D+/, ''); }

  // concerns reports whether a change is about what this page shows.
  function concerns(data) {
    if (!page.subject) return true;
    try {
      const c = JSON.parse(data);
      const mine = page.subject.slice(1);
      if (page.subject[0] === 'i') return number(c.incident) === mine || !!c.major;
      return number(c.major) === mine || !!c.incident;
    } catch { return true; }
  }

  let feed = null, retry = 0;

  function say(text, lost) {
    if (pulse.textContent !== text) pulse.textContent = text;
    pulse.classList.toggle('lost', lost);
    pulse.title = text;
    pulse.hidden = false;
  }

  function listen() {
    clearTimeout(retry);
    if (feed) feed.close();
    feed = new EventSource('/api/v1/events');
    let lost = false;
    feed.onopen = () => { say('Live', false); if (lost) soon(); lost = false; };
    feed.onerror = () => {
      lost = true;
      say('Reconnecting', true);
      if (feed.readyState === EventSource.CLOSED) retry = setTimeout(() => { listen(); soon(); }, 5000);
    };
    const heard = (e) => { if (concerns(e.data)) soon(); };
    feed.onmessage = heard;
    feed.addEventListener('change', heard);
    feed.addEventListener('reset', soon);
  }

  // A page that nobody sees gives its connection back after a while, and looks now and then, for its title.
  let away = 0;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(away);
    if (document.hidden) {
      away = setTimeout(() => { clearTimeout(retry); feed.close(); feed = null; }, HIDDEN);
    } else {
      if (!feed) listen();
      soon();
    }
  });
  addEventListener('pagehide', () => { if (feed) feed.close(); });
  addEventListener('pageshow', (e) => { if (e.persisted) { listen(); soon(); } });

  setInterval(soon, OFTEN); // ages grow
  listen();
})();
