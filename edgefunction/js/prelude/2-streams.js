// ReadableStream as far as whole bodies need it: readers, iteration, tee, cancel.

let disturbed, collect;

class ReadableStream {
  #queue = [];
  #waiting = [];
  #state = 'open'; // closed, failed
  #error;
  #source;
  #pulling = false;
  #again = false;
  #started;
  #reader = null;
  #disturbed = false;
  #controller;
  #strategy;
  constructor(source = {}, strategy = {}) {
    this.#source = source;
    this.#strategy = strategy?.highWaterMark ?? 0;
    const self = this;
    this.#controller = {
      get desiredSize() { return self.#state === 'open' ? Math.max(1, self.#strategy) - self.#queue.length : self.#state === 'closed' ? 0 : null; },
      enqueue(chunk) { self.#enqueue(chunk); },
      close() { self.#close(); },
      error(e) { self.#fail(e); },
    };
    this.#started = Promise.resolve(source.start?.(this.#controller)).catch((e) => this.#fail(e));
  }
  static from(items) {
    const iterator = (items[Symbol.asyncIterator] ?? items[Symbol.iterator]).call(items);
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(await value);
      },
      async cancel(reason) { await iterator.return?.(reason); },
    });
  }
  static {
    disturbed = (stream) => stream instanceof ReadableStream && stream.#disturbed;
    collect = async (stream) => {
      const reader = stream.getReader(), chunks = [];
      let size = 0;
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const chunk = typeof value === 'string' ? new Uint8Array(host.encode(value.toWellFormed())) : value instanceof ArrayBuffer ? new Uint8Array(value) : value;
        if (!(chunk instanceof Uint8Array)) throw new TypeError('body: the stream gave what is neither bytes nor a string');
        chunks.push(chunk);
        size += chunk.byteLength;
        if (size > mostBody) throw new RangeError(`body: the stream gave more than ${mostBody} bytes`);
      }
      const whole = new Uint8Array(size);
      let at = 0;
      for (const chunk of chunks) {
        whole.set(chunk, at);
        at += chunk.byteLength;
      }
      return whole;
    };
  }
  #enqueue(chunk) {
    if (this.#state !== 'open') throw new TypeError('ReadableStream: it is closed');
    if (this.#waiting.length > 0) this.#waiting.shift().resolve({ value: chunk, done: false });
    else this.#queue.push(chunk);
  }
  #close() {
    if (this.#state !== 'open') throw new TypeError('ReadableStream: it is closed');
    this.#state = 'closed';
    for (const w of this.#waiting.splice(0)) w.resolve({ value: undefined, done: true });
  }
  #fail(e) {
    if (this.#state !== 'open') return;
    this.#state = 'failed';
    this.#error = e;
    this.#queue = [];
    for (const w of this.#waiting.splice(0)) w.reject(e);
  }
  #read() {
    this.#disturbed = true;
    if (this.#queue.length > 0) return Promise.resolve({ value: this.#queue.shift(), done: false });
    if (this.#state === 'closed') return Promise.resolve({ value: undefined, done: true });
    if (this.#state === 'failed') return Promise.reject(this.#error);
    const read = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.#pull();
    return read;
  }
  async #pull() {
    if (this.#pulling) {
      this.#again = true;
      return;
    }
    this.#pulling = true;
    try {
      await this.#started;
      do {
        this.#again = false;
        if (this.#state === 'open' && this.#waiting.length > 0) await this.#source.pull?.(this.#controller);
      } while (this.#again || this.#source.pull && this.#state === 'open' && this.#waiting.length > 0);
    } catch (e) {
      this.#fail(e);
    } finally {
      this.#pulling = false;
    }
  }
  async #cancel(reason) {
    this.#disturbed = true;
    if (this.#state !== 'open') return;
    this.#queue = [];
    this.#close();
    await this.#source.cancel?.(reason);
  }
  get locked() { return this.#reader !== null; }
  async cancel(reason) {
    if (this.locked) throw new TypeError('ReadableStream: it is locked');
    return this.#cancel(reason);
  }
  getReader(options) {
    if (options?.mode !== undefined) throw new TypeError('ReadableStream: there are no BYOB readers');
    if (this.locked) throw new TypeError('ReadableStream: it is locked');
    const mine = () => { if (this.#reader !== reader) throw new TypeError('ReadableStream: the reader was released'); };
    const reader = {
      read: async () => { mine(); return this.#read(); },
      cancel: async (reason) => { mine(); return this.#cancel(reason); },
      releaseLock: () => { if (this.#reader === reader) this.#reader = null; },
    };
    this.#reader = reader;
    return reader;
  }
  tee() {
    const reader = this.getReader(), branches = [];
    const pull = async () => {
      const { value, done } = await reader.read();
      for (const c of branches) {
        if (done) c.close();
        else c.enqueue(value);
      }
    };
    const branch = () => new ReadableStream({ start(c) { branches.push(c); }, pull });
    return [branch(), branch()];
  }
  async *values() {
    const reader = this.getReader();
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        yield value;
      }
    } finally {
      reader.releaseLock();
    }
  }
  [Symbol.asyncIterator]() { return this.values(); }
  get [Symbol.toStringTag]() { return 'ReadableStream'; }
}
global('ReadableStream', ReadableStream);
