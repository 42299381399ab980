// Greets whoever asks. In a Caddyfile: edgefunction hello ./hello.ts
// As in Cloudflare Workers and in Deno: the default export has a function fetch.

interface Greeting {
  hello: string;
  method: string;
  at: string;
}

export default {
  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const greeting: Greeting = {
      hello: url.searchParams.get('name') ?? 'world',
      method: request.method,
      at: url.hostname,
    };
    return Response.json(greeting, { headers: { 'cache-control': 'no-store' } });
  },
};
