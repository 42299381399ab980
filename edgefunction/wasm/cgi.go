package wasm

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/experimental"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// serveCGI serves a request by a fresh instance that speaks CGI/1.1 (RFC 3875) on its
// standard input and output.
func (p *program) serveCGI(ctx context.Context, x *exchange) error {
	body, err := x.wholeBody()
	if err != nil {
		return err
	}
	config := p.config.WithStartFunctions(start).WithStdin(bytes.NewReader(body)).WithStderr(&x.printer).
		WithNanosleep(func(ns int64) { x.sleep(time.Duration(ns)) })
	for name, value := range metaVariables(x.r, int64(len(body))) {
		if strings.ContainsRune(value, 0) { // an escaped NUL in the path: section 3.3 lets us refuse it
			http.Error(x.w, "the path has an escaped NUL", http.StatusBadRequest)
			return nil
		}
		if _, theirs := p.settings.Env[name]; !theirs || !strings.HasPrefix(name, "HTTP_") {
			config = config.WithEnv(name, value)
		}
	}
	out := &output{clock: x.clock, limit: x.limits.Headers + x.limits.ResponseBody}
	m := p.newMemory()
	module, err := p.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, m), p.compiled, config.WithStdout(out))
	if module != nil {
		_ = module.Close(ctx) // it has returned
	}
	if err != nil || x.over() != nil {
		return x.judge(err, m)
	}
	response, fault := parseCGI(out.text, x.limits)
	if fault != nil {
		return fault
	}
	for name, values := range response.header {
		x.w.Header()[name] = values
	}
	return send(x.w, x.r, response.status, response.body)
}

// wholeBody reads the request's body; what the client takes for it does not count.
func (x *exchange) wholeBody() ([]byte, error) {
	if x.r.Body == nil || x.r.Body == http.NoBody {
		return nil, nil
	}
	x.stop()
	defer x.start()
	t := x.original()
	if x.r.ContentLength > x.limits.RequestBody {
		return nil, t.tooLarge()
	}
	body, err := io.ReadAll(io.LimitReader(t.patient, x.limits.RequestBody+1))
	if err == nil && int64(len(body)) > x.limits.RequestBody {
		return nil, t.tooLarge()
	}
	return body, err
}

// output is a command's standard output.
type output struct {
	*clock
	text  []byte
	limit int64
}

// Write implements io.Writer. A command that writes too much is ended.
func (o *output) Write(p []byte) (int, error) {
	if int64(len(o.text)+len(p)) > o.limit {
		fault := edgefunction.Faultf(edgefunction.FaultAnswer, "its header and body pass %d bytes", o.limit)
		o.end(fault)
		return 0, fault
	}
	o.text = append(o.text, p...)
	return len(p), nil
}

// metaVariables are those of RFC 3875, section 4.1, and what net/http/cgi reads beside
// them. A field of the request whose name has an underscore is left out: it would pass
// for another. So is Proxy, which would pass for the operator's HTTP_PROXY.
func metaVariables(r *http.Request, length int64) map[string]string {
	all := map[string]string{
		"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "caddy-apoxy", "SERVER_PROTOCOL": r.Proto,
		"REQUEST_METHOD": r.Method, "REQUEST_URI": r.URL.RequestURI(), "QUERY_STRING": r.URL.RawQuery,
		"SCRIPT_NAME": "", "PATH_INFO": r.URL.Path, "HTTP_HOST": r.Host,
		"SERVER_NAME": r.Host, "SERVER_PORT": "80", "REMOTE_ADDR": r.RemoteAddr, "REMOTE_HOST": r.RemoteAddr,
	}
	if r.TLS != nil {
		all["HTTPS"], all["SERVER_PORT"] = "on", "443"
	}
	if host, port, err := net.SplitHostPort(r.Host); err == nil {
		all["SERVER_NAME"], all["SERVER_PORT"] = host, port
	}
	if address, port, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		all["REMOTE_ADDR"], all["REMOTE_HOST"], all["REMOTE_PORT"] = address, address, port
	}
	for name, values := range r.Header {
		if strings.Contains(name, "_") || name == "Proxy" || framing[name] || name == "Content-Type" {
			continue
		}
		separator := ", "
		if name == "Cookie" {
			separator = "; "
		}
		all["HTTP_"+strings.ReplaceAll(strings.ToUpper(name), "-", "_")] = strings.Join(values, separator)
	}
	if kind := r.Header.Get("Content-Type"); kind != "" {
		all["CONTENT_TYPE"] = kind
	}
	if length > 0 || r.Body != nil && r.Body != http.NoBody {
		all["CONTENT_LENGTH"] = strconv.FormatInt(length, 10)
	}
	return all
}
