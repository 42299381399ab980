// Event, EventTarget, AbortController and AbortSignal.

class Event {
  constructor(type, options = {}) {
    this.type = String(type);
    this.cancelable = Boolean(options.cancelable);
    this.defaultPrevented = false;
    this.target = null;
  }
  preventDefault() { if (this.cancelable) this.defaultPrevented = true; }
}

class EventTarget {
  #listeners = new Map();
  addEventListener(type, listener, options) {
    if (!listener) return;
    const list = this.#listeners.get(type) ?? [];
    if (!list.some((l) => l.listener === listener)) list.push({ listener, once: Boolean(options?.once) });
    this.#listeners.set(type, list);
  }
  removeEventListener(type, listener) {
    this.#listeners.set(type, (this.#listeners.get(type) ?? []).filter((l) => l.listener !== listener));
  }
  dispatchEvent(event) {
    event.target = this;
    for (const { listener, once } of [...(this.#listeners.get(event.type) ?? [])]) {
      if (once) this.removeEventListener(event.type, listener);
      try {
        if (typeof listener === 'function') listener.call(this, event);
        else listener.handleEvent(event);
      } catch (e) {
        host.log('error', 'event listener: ' + describe(e));
      }
    }
    return !event.defaultPrevented;
  }
}

let abort;

class AbortSignal extends EventTarget {
  #aborted = false;
  #reason;
  onabort = null;
  constructor(key) {
    super();
    if (key !== internal) throw new TypeError('Illegal constructor');
  }
  static {
    abort = (signal, reason = new DOMException('The operation was aborted', 'AbortError')) => {
      if (signal.#aborted) return;
      signal.#aborted = true;
      signal.#reason = reason;
      const event = new Event('abort');
      signal.onabort?.call(signal, event);
      signal.dispatchEvent(event);
    };
  }
  static abort(reason) {
    const signal = new AbortSignal(internal);
    abort(signal, reason);
    return signal;
  }
  static timeout(delay) {
    const signal = new AbortSignal(internal);
    setTimeout(() => abort(signal, new DOMException('The operation timed out', 'TimeoutError')), delay);
    return signal;
  }
  static any(signals) {
    const signal = new AbortSignal(internal);
    for (const s of signals) {
      if (s.aborted) abort(signal, s.reason);
      else s.addEventListener('abort', () => abort(signal, s.reason), { once: true });
    }
    return signal;
  }
  get aborted() { return this.#aborted; }
  get reason() { return this.#reason; }
  throwIfAborted() { if (this.#aborted) throw this.#reason; }
}

class AbortController {
  #signal = new AbortSignal(internal);
  get signal() { return this.#signal; }
  abort(reason) { abort(this.#signal, reason); }
}

for (const [name, value] of Object.entries({ Event, EventTarget, AbortSignal, AbortController })) global(name, value);
