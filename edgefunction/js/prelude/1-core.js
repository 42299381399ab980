// What stands around a function: the request it is given, the answer it gives, and
// what it waits for. Each instance serves one request at a time; serial tells them
// apart, so that what a function keeps of one request is of no use in the next.

let serial = 0; // of the request that is served; 0 while the module is evaluated
let waiting = 0; // promises given to waitUntil that are not settled
let answered = false;
let handler, env;

function inRequest(what) {
  if (serial === 0) throw new Error(`${what}: expected inside of a request, not while the module is evaluated`);
}

class ExecutionContext {
  #serial = serial;
  #passThrough = false;
  #remoteAddress;
  constructor(key, remoteAddress) {
    if (key !== internal) throw new TypeError('Illegal constructor');
    this.#remoteAddress = remoteAddress;
  }
  get remoteAddress() { return this.#remoteAddress; }
  get passesThrough() { return this.#passThrough; }
  passThroughOnException() { this.#passThrough = true; }
  waitUntil(promise) {
    if (this.#serial !== serial) throw new Error('ctx.waitUntil: its request is over');
    waiting++;
    const mine = serial;
    const settled = () => {
      if (mine !== serial || --waiting > 0 || !answered) return;
      host.done();
    };
    Promise.resolve(promise).then(settled, (e) => {
      if (mine === serial) host.log('error', 'waitUntil: ' + describe(e));
      settled();
    });
  }
}

const internal = Symbol('internal');

// load takes the namespace of the user's module and returns what is wrong with it.
function load(namespace) {
  handler = namespace.default;
  if (handler === undefined) return 'there is no default export';
  if (handler === null || typeof handler !== 'object' && typeof handler !== 'function') return 'the default export is no object';
  if (typeof handler.fetch !== 'function') return 'the default export has no function fetch';
  return '';
}

function setEnv(names) { env = Object.freeze(Object.fromEntries(JSON.parse(names))); }

// serve begins to answer the request described by head, a line for each of method,
// URL and address of the client, then two for each header field.
function serve(head) {
  serial++;
  waiting = 0;
  answered = false;
  clearTimers();
  const lines = head.split('\n');
  const request = incoming(lines);
  const ctx = new ExecutionContext(internal, lines[2]);
  const mine = serial;
  const done = (answer) => { if (mine === serial) finish(answer, ctx); };
  const failed = (e) => { if (mine === serial) fail(e, ctx); };
  let answer;
  try {
    answer = handler.fetch(request, env, ctx);
    if (answer === null || typeof answer !== 'object' || typeof answer.then !== 'function') return done(answer);
  } catch (e) {
    return failed(e);
  }
  Promise.resolve(answer).then(done, failed);
}

function finish(answer, ctx) {
  if (answered) return;
  try {
    if (answer === undefined || answer === null) {
      answered = true;
      host.pass(`${waiting}`);
    } else if (answer instanceof Response) {
      respond(answer, ctx);
    } else if (answer instanceof Request) {
      handOn(answer, ctx);
    } else {
      throw new TypeError(`fetch returned ${inspect(answer, 1)}: expected a Response, or nothing to hand the request on`);
    }
  } catch (e) {
    fail(e, ctx);
  }
}

function respond(response, ctx) {
  const { status } = response, fields = wire(response.headers);
  withBody(response, ctx, (body) => {
    const h = `${status} ${waiting}\n${fields}`;
    if (body === null) host.respond(h, '');
    else if (typeof body === 'string') host.respond(h, body);
    else host.respondBytes(h, exact(body));
  });
}

// handOn hands the request on with the head that the function gave it.
function handOn(request, ctx) {
  const head = `${request.method}\n${request.url}\n${wire(request.headers)}`;
  if (isIncoming(request)) {
    answered = true;
    host.pass(`${waiting}\nsame\n${head}`);
    return;
  }
  withBody(request, ctx, (body) => {
    const bytes = body === null ? new ArrayBuffer(0) : typeof body === 'string' ? host.encode(body.toWellFormed()) : exact(body);
    host.pass(`${waiting}\nown\n${head}`, bytes);
  });
}

// withBody calls send with the body, at once where it is at hand.
function withBody(message, ctx, send) {
  const body = takeBody(message);
  if (!(body instanceof Promise)) {
    answered = true;
    send(body);
    return;
  }
  const mine = serial;
  body.then((bytes) => {
    if (mine !== serial || answered) return;
    answered = true;
    send(bytes);
  }).catch((e) => { if (mine === serial) fail(e, ctx); });
}

function fail(e, ctx) {
  if (answered) return;
  answered = true;
  if (ctx.passesThrough) {
    host.log('error', describe(e));
    host.pass(`${waiting}`);
    return;
  }
  host.fail(describe(e));
}

// describe is an error in words, with the places in the source where it came about.
function describe(e) {
  try {
    if (!(e instanceof Error)) return `threw ${inspect(e, 1)}`;
    let text = `${e.name}: ${e.message}`;
    if (typeof e.stack === 'string' && e.stack !== '') text += '\n' + e.stack.trimEnd();
    if (e.cause !== undefined) text += '\ncaused by ' + describe(e.cause);
    return text;
  } catch {
    return 'an error that cannot be described';
  }
}

// exact is the bytes of a view as a buffer of their own.
function exact(view) {
  if (view instanceof ArrayBuffer) return view;
  if (view.byteOffset === 0 && view.byteLength === view.buffer.byteLength) return view.buffer;
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
}
