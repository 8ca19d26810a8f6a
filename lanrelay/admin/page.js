"use strict";
// The server renders; this puts the parts that changed in their places and has the times go on.
(() => {
  const root = document.documentElement;
  const live = document.getElementById("live");
  const said = document.getElementById("said");
  const icon = document.querySelector("link[rel=icon]");
  const ICONS = { good: "1a7f37", poor: "bf8700", bad: "cf222e", none: "6e7781", lost: "9aa2ab" };
  const texts = new Map(); // of the parts, as they came last
  let ahead = 0; // the server's clock before ours, in ms
  let source = null;
  let title = document.title;
  let mood = root.dataset.mood;
  let heard = Date.now();
  let lost = false;
  const PATIENCE = 45000; // ms: something comes every 15 s at least

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
    if (Date.now() - heard > PATIENCE) lose(heard);
  };

  // --- what is new ---

  // Makes `old` like `wanted` by touching only what differs, so that focus, selection and what the reader has
  // unfolded stay. What is in a part within a part comes by itself.
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
    if (!old.matches("time[data-form], [data-part], [data-requests]")) fill(old, wanted);
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

  const put = (place, text) => {
    const made = document.createElement("template");
    made.innerHTML = text;
    fill(place, made.content);
  };

  const places = () => new Map([...document.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));

  const show = (parts) => {
    const before = places();
    for (const [name, text] of Object.entries(parts)) {
      texts.set(name, text);
      if (before.get(name)?.isConnected) put(before.get(name), text);
    }
    for (const [name, place] of places()) {
      if (!place.hasChildNodes() && texts.get(name)) put(place, texts.get(name));
    }
    for (const each of document.querySelectorAll("details[open] > [data-requests]")) {
      const row = each.closest(".listener").querySelector("[data-part^=row-]").dataset.part;
      if (row in parts) load(each);
    }
  };

  const turn = (to) => {
    root.dataset.mood = to;
    icon.href = icon.href.replace(/%23[0-9a-f]{6}/, `%23${ICONS[to] || ICONS.none}`);
  };

  const told = (text, isLost) => {
    if (live.textContent !== text) live.textContent = text;
    live.classList.toggle("lost", isLost);
  };

  const lose = (at) => {
    if (lost) return;
    lost = true;
    const since = new Date(at).toTimeString().slice(0, 5);
    document.title = `no answer since ${since} · lanrelay`;
    turn("lost");
    told(`No answer since ${since}: this is what the relay said last. Trying again.`, true);
  };

  const listen = () => {
    source = new EventSource("/events");
    source.onmessage = (event) => {
      const news = JSON.parse(event.data);
      heard = Date.now();
      lost = false;
      ahead = news.now * 1000 - heard;
      title = news.title ?? title;
      mood = news.parts?.mood ?? mood;
      if (document.title !== title) document.title = title;
      if (root.dataset.mood !== mood) turn(mood);
      if (news.parts) show(news.parts);
      tick();
      told("Live: what changes is shown at once.", false);
    };
    source.onerror = () => {
      lose(Date.now());
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
    };
  };

  // --- what the reader asks for ---

  const copy = async (button) => {
    const code = button.closest(".copied, figure").querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch { // not over http:// from another machine
      const range = document.createRange();
      range.selectNodeContents(code);
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      if (!document.execCommand("copy")) return;
    }
    button.dataset.done = "";
    said.textContent = "Copied";
    setTimeout(() => {
      delete button.dataset.done;
      said.textContent = "";
    }, 1500);
  };

  const size = (count) => {
    if (count < 1024) return `${count} B`;
    const power = Math.min(Math.floor(Math.log(count) / Math.log(1024)), 4);
    return `${(count / 1024 ** power).toFixed(1)} ${["KiB", "MiB", "GiB", "TiB"][power - 1]}`;
  };

  const took = (seconds) => (seconds < 1 ? `${Math.round(seconds * 1000)} ms` : duration(seconds));

  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  const COLUMNS = ["When", "Request", "Status", "Took", "Bytes"];

  const load = async (place) => {
    if (place.dataset.loading) return;
    place.dataset.loading = "yes";
    try {
      const answer = await fetch(place.dataset.requests);
      if (!answer.ok) throw new Error(`the answer is ${answer.status}`);
      const found = await answer.json();
      const requests = [...(found.requests ?? found)].sort((a, b) => b.at - a.at);
      if (!requests.length) {
        place.replaceChildren(element("p", "None yet.", { class: "aside" }));
        return;
      }
      // With their roles, for a style makes other boxes of them on a telephone.
      const table = element("table", "", { role: "table", "aria-label": "The last requests, the latest first" });
      const head = table.createTHead().insertRow();
      for (const each of COLUMNS) head.append(element("th", each, { scope: "col", role: "columnheader" }));
      const body = table.createTBody();
      for (const one of requests) {
        const row = body.insertRow();
        const asked = [one.method, one.rpc].filter(Boolean).join(" ") || "connection";
        const when = new Date(one.at * 1000);
        const status = [one.status, one.error?.replaceAll("_", "_\u200b")].filter(Boolean).join(" ") || "–";
        const cells = [when.toTimeString().slice(0, 8), asked, status, took(one.seconds), size(one.bytes)];
        for (const each of cells) row.append(element("td", each, { role: "cell" }));
      }
      for (const each of [table.tHead, body]) each.setAttribute("role", "rowgroup");
      for (const each of table.rows) each.setAttribute("role", "row");
      place.replaceChildren(table);
    } catch (error) {
      place.replaceChildren(element("p", `They did not come: ${error.message}.`, { class: "aside" }));
    } finally {
      delete place.dataset.loading;
    }
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (button) copy(button);
  });
  document.addEventListener("toggle", (event) => {
    const place = event.target.open && event.target.querySelector(":scope > [data-requests]");
    if (place) load(place);
  }, true);

  root.classList.add("scripted");
  live.textContent = "";
  tick();
  setInterval(tick, 1000);
  listen();
})();
