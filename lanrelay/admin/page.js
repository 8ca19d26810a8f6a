"use strict";
// The server renders; this puts the parts that changed in their places and has the times go on.
(() => {
  const live = document.getElementById("live");
  let ahead = 0; // the server's clock before ours, in ms
  let source = null;

  const duration = (seconds) => {
    const whole = Math.max(Math.floor(seconds), 0);
    const minutes = Math.floor(whole / 60), hours = Math.floor(whole / 3600), days = Math.floor(whole / 86400);
    if (days) return `${days} d ${hours % 24} h`;
    if (hours) return `${hours} h ${minutes % 60} min`;
    if (minutes) return `${minutes} min ${whole % 60} s`;
    return `${whole} s`;
  };

  const tick = () => {
    const now = Date.now() + ahead;
    for (const each of document.querySelectorAll("time[data-form]")) {
      const passed = duration((now - Date.parse(each.dateTime)) / 1000);
      const text = each.dataset.form === "ago" ? `${passed} ago` : passed;
      if (each.textContent !== text) each.textContent = text;
    }
  };

  // Makes `old` like `wanted` by touching only what differs, so that focus, selection and what the reader has
  // unfolded stay.
  const become = (old, wanted) => {
    if (old.nodeType !== wanted.nodeType || old.nodeName !== wanted.nodeName || (old.id || "") !== (wanted.id || "")) {
      old.replaceWith(wanted);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== wanted.nodeValue) old.nodeValue = wanted.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!wanted.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (!old.matches("time[data-form]")) fill(old, wanted);
  };

  // Those with an id are found again by it, wherever they are; the others by their place.
  const fill = (old, wanted) => {
    let here = old.firstChild;
    const drop = () => {
      const next = here.nextSibling;
      here.remove();
      here = next;
    };
    for (const each of [...wanted.childNodes]) {
      const same = each.id && [...old.children].find((one) => one.id === each.id);
      if (same) while (here && here !== same) drop();
      if (here && (same ? here === same : !each.id && !here.id)) {
        const next = here.nextSibling;
        become(here, each);
        here = next;
      } else {
        old.insertBefore(each, here);
      }
    }
    while (here) drop();
  };

  const shown = (text, lost) => {
    if (live.textContent !== text) live.textContent = text;
    live.classList.toggle("lost", lost);
  };

  const listen = () => {
    source = new EventSource("/events");
    source.onmessage = (event) => {
      const news = JSON.parse(event.data);
      ahead = news.now * 1000 - Date.now();
      document.title = news.title;
      for (const [name, text] of Object.entries(news.parts)) {
        const place = document.querySelector(`[data-part="${name}"]`);
        const made = document.createElement("template");
        made.innerHTML = text;
        fill(place, made.content);
      }
      tick();
      shown("Live: what changes is shown at once.", false);
    };
    source.onerror = () => {
      shown("The relay does not answer: this is what it said last. Trying again.", true);
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
    };
  };

  live.textContent = "";
  tick();
  setInterval(tick, 1000);
  listen();
})();
