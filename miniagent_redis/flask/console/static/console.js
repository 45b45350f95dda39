// The console's script. Pages work without it; with it an answer is read as it is given.
"use strict";

(() => {
  const began = performance.now();

  function span(seconds) {
    const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const at = units.findIndex(([length]) => seconds >= length);
    if (at < 0) return "0 s";
    const [length, unit] = units[at];
    const whole = Math.floor(seconds / length);
    const smaller = units[at + 1];
    const rest = smaller ? Math.floor((seconds % length) / smaller[0]) : 0;
    return whole >= 10 || !rest ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${smaller[1]}`;
  }

  function countDown() {
    const passed = (performance.now() - began) / 1000;
    for (const time of document.querySelectorAll("time[data-left]")) {
      time.textContent = span(Math.max(0, Number(time.dataset.left) - passed));
    }
  }
  if (document.querySelector("time[data-left]")) setInterval(countDown, 1000);

  // The conversation of the page: to talk in, or to look at.
  const chat = document.querySelector("#chat, #steps");
  if (!chat) return;

  const byScript = { "X-Console": "script" };
  const status = document.getElementById("status");
  const composer = document.getElementById("say");
  const message = document.getElementById("message");
  let source = null;
  let live = "";
  let thought = "";
  let isBusy = false;
  let soon = 0;
  let lastSent = "";

  const isAtEnd = () => chat.getBoundingClientRect().bottom < innerHeight + 120;
  const toEnd = () => scrollTo(0, scrollY + chat.getBoundingClientRect().bottom - innerHeight);
  const say = (text) => { if (status.textContent !== text) status.textContent = text; };

  function paint() {
    const place = document.getElementById("live");
    if (!place) return;
    const follows = isAtEnd();
    place.textContent = live;
    const thinking = document.getElementById("thinking");
    thinking.hidden = !thought;
    thinking.querySelector("p").textContent = thought;
    if (follows) toEnd();
  }

  // Puts what the server has rendered in the place of what is shown: one way to render, its own.
  function swap(page) {
    const fresh = page.getElementById(chat.id);
    if (!fresh) return false;
    const follows = isAtEnd();
    const thread = document.getElementById("thread");
    const wasOpen = [...thread.querySelectorAll("details:not(#thinking)")].map((one) => one.open);
    thread.replaceWith(fresh.querySelector("#thread"));
    document.querySelectorAll("#thread details:not(#thinking)").forEach((one, at) => { one.open = wasOpen[at] ?? one.open; });
    for (const beside of [".rail", "#facts"]) {
      const here = document.querySelector(beside);
      if (here && !here.contains(document.activeElement)) here.replaceWith(page.querySelector(beside));
    }
    for (const name of ["state", "mark", "events"]) {
      if (name in fresh.dataset) chat.dataset[name] = fresh.dataset[name];
      else delete chat.dataset[name];
    }
    const form = page.getElementById("say");
    if (composer && form) {
      for (const name of ["id", "new", "turn"]) composer.elements[name].value = form.elements[name].value;
      if (!form.elements.agent) composer.querySelector(".with")?.remove();
      composer.querySelector("button").disabled = form.querySelector("button").disabled;
    }
    paint();
    if (follows) toEnd();
    follow();
    return true;
  }

  async function load(answer) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.ok && swap(page)) return true;
    say(page.getElementById("problem")?.textContent ?? `Something went wrong (${answer.status}).`);
    return false;
  }

  async function refresh() {
    clearTimeout(soon);
    soon = 0;
    try {
      return await load(await fetch(location.href, { headers: byScript }));
    } catch {
      say("The connection is lost. Trying again…");
      soon = setTimeout(refresh, 2000);
      return false;
    }
  }

  function refreshSoon() {
    if (!soon) soon = setTimeout(refresh, 150);
  }

  async function over(words) {
    leave();
    live = thought = "";
    if (await refresh()) say(words);
  }

  function leave() {
    source?.close();
    source = null;
  }

  function follow() {
    if (source || !chat.dataset.events) return;
    live = thought = "";
    source = new EventSource(chat.dataset.events);
    const on = (kind, act) => source.addEventListener(kind, (event) => act(JSON.parse(event.data)));
    on("turn_started", () => { live = thought = ""; paint(); });
    on("reasoning_delta", (data) => { thought += data.text ?? ""; paint(); });
    on("text_delta", (data) => { live += data.text ?? ""; paint(); });
    on("tool_call", () => { live = thought = ""; paint(); refreshSoon(); });
    on("tool_result", refreshSoon);
    on("turn_waiting", () => over("The answer waits for a decision."));
    on("agent_response", () => over("The answer is complete."));
    on("turn_failed", (data) => {
      if (message && !message.value) message.value = lastSent;
      over(data.message);
    });
    source.onopen = () => say("");
    source.onerror = () => {
      say("The connection is lost. Trying again…");
      if (source && source.readyState === EventSource.CLOSED) {
        source = null;
        soon = setTimeout(refresh, 1500);
      }
    };
  }

  async function post(form, button) {
    if (isBusy) return;
    isBusy = true;
    const data = new URLSearchParams(new FormData(form, button));
    const isMessage = form === composer;
    form.closest(".again")?.removeAttribute("open");
    say("");
    try {
      const answer = await fetch(form.action, { method: "POST", body: data, headers: byScript });
      if (answer.redirected) {
        const shown = new URL(answer.url);
        shown.searchParams.delete("turn"); // it asks what became of this very message
        history.replaceState(null, "", shown);
      }
      leave();
      if ((await load(answer)) && isMessage) {
        lastSent = message.value;
        message.value = "";
        toEnd();
      }
    } catch {
      say("This could not be sent. Please try again.");
    } finally {
      isBusy = false;
      message?.focus({ preventScroll: true });
    }
  }

  chat.addEventListener("submit", (event) => {
    event.preventDefault();
    post(event.target, event.submitter);
  });

  message?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!composer.querySelector("button").disabled) composer.requestSubmit();
  });

  // Other tabs, and other people, change a conversation too.
  async function look() {
    const isTyping = document.activeElement.matches("#thread input, #thread textarea");
    if (document.hidden || source || isBusy || soon || isTyping || !chat.dataset.state) return;
    try {
      const answer = await fetch(chat.dataset.state, { headers: byScript });
      if (answer.status === 404) {
        say("This conversation has ended.");
        delete chat.dataset.state;
      } else if (answer.ok && (await answer.json()).mark !== chat.dataset.mark) {
        await refresh();
      }
    } catch {
      // It is looked for again.
    }
  }
  setInterval(look, 3000);
  document.addEventListener("visibilitychange", look);

  follow();
  // On a phone the keyboard would cover the page.
  if (message && !composer.querySelector("button").disabled && matchMedia("(min-width: 46rem)").matches) {
    message.focus({ preventScroll: true });
  }
  // Behind the browser's own jump, which puts the anchor at the top.
  if (location.hash === "#end") addEventListener("load", () => requestAnimationFrame(toEnd));
})();
