package tunnel

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
)

// ServeHTTP forwards a request.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		http.Error(w, "the tunnel carries requests, no CONNECT", http.StatusMethodNotAllowed)
		return
	}
	if upgrade := r.Header.Get(headerUpgrade); upgrade != "" {
		o.upgrade(w, r, upgrade)
		return
	}
	res, err := o.transport.RoundTrip(o.outgoing(w, r))
	if err != nil {
		o.refuse(w, r, err)
		return
	}
	defer res.Body.Close()
	header(w, res)
	w.WriteHeader(res.StatusCode)
	flush := http.NewResponseController(w)
	streams := res.ContentLength < 0 || strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream")
	if streams && flush.Flush() != nil {
		return
	}
	if err := relay(w, res.Body, streams); err != nil {
		panic(http.ErrAbortHandler) // resets the stream: the answer must not look whole
	}
	trailers(w, res)
}

// outgoing is r as it goes to the backend.
func (o *origin) outgoing(w http.ResponseWriter, r *http.Request) *http.Request {
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == http.StatusContinue {
			return nil // reading the body says that
		}
		own := w.Header()
		for k, v := range h {
			own[k] = v
		}
		w.WriteHeader(code)
		clear(own)
		return nil
	}}
	out := r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	u := *r.URL
	u.Scheme, u.Host = o.to.Scheme, o.to.Host
	out.URL, out.RequestURI, out.Close = &u, "", false
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = []string{""} // net/http would say its own
	}
	if r.Header.Get(headerExpect) != "" {
		r.Header["Expect"] = []string{"100-continue"}
	}
	for _, k := range inner {
		delete(r.Header, k)
	}
	switch {
	case len(r.Trailer) > 0:
		out.ContentLength = -1 // HTTP/1.1 carries trailers after chunks alone
		delete(r.Header, "Content-Length")
	case r.ContentLength == 0:
		out.Body = http.NoBody
	}
	return out
}

// refuse tells the edge why the backend has not answered.
func (o *origin) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
	o.failed()
	kind := errorOrigin
	var dial dialError
	if errors.As(err, &dial) {
		kind = errorDial
	}
	w.Header().Set(headerError, kind)
	w.Header().Set(headerDetail, printable(err.Error(), 200))
	w.WriteHeader(http.StatusBadGateway)
}

// header copies the header of the backend's answer, and announces its trailers.
func header(w http.ResponseWriter, res *http.Response) {
	for k := range res.Header {
		if k == "Connection" {
			for _, v := range res.Header[k] {
				for field := range strings.SplitSeq(v, ",") {
					res.Header.Del(strings.TrimSpace(field))
				}
			}
		}
	}
	for _, k := range hopByHop {
		delete(res.Header, k)
	}
	for _, k := range inner {
		delete(res.Header, k)
	}
	h := w.Header()
	for k, v := range res.Header {
		h[k] = v
	}
	for _, k := range [...]string{"Content-Type", "Date"} {
		if _, ok := h[k]; !ok {
			h[k] = nil // or the server would make one up
		}
	}
	for k := range res.Trailer {
		h.Add("Trailer", k)
	}
}

// trailers sends the trailers, announced or not.
func trailers(w http.ResponseWriter, res *http.Response) {
	announced := map[string]bool{}
	for _, k := range w.Header()["Trailer"] {
		announced[k] = true
	}
	for k, v := range res.Trailer {
		if !announced[k] {
			k = http.TrailerPrefix + k
		}
		w.Header()[k] = v
	}
}

// buffers are what bodies are copied through.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// relay copies a body, with a flush after every read if it streams.
func relay(w http.ResponseWriter, body io.Reader, streams bool) error {
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	flush := http.NewResponseController(w)
	for {
		n, err := body.Read(buf[:])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if streams {
				if err := flush.Flush(); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// upgrade forwards a request to speak another protocol, and both directions once
// the backend does.
func (o *origin) upgrade(w http.ResponseWriter, r *http.Request, protocol string) {
	up := r.Body
	out := o.outgoing(w, r)
	out.Body, out.ContentLength = http.NoBody, 0
	out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{protocol}
	res, err := o.http1.RoundTrip(out)
	if err != nil {
		o.refuse(w, r, err)
		return
	}
	defer res.Body.Close()
	back, ok := res.Body.(io.ReadWriteCloser)
	switched := res.Header.Get("Upgrade")
	header(w, res)
	if res.StatusCode != http.StatusSwitchingProtocols || !ok {
		w.WriteHeader(res.StatusCode)
		if relay(w, res.Body, true) != nil {
			panic(http.ErrAbortHandler)
		}
		return
	}
	w.Header().Set(headerUpgrade, switched)
	w.WriteHeader(http.StatusOK)
	if http.NewResponseController(w).Flush() != nil {
		return
	}
	go func() {
		if _, err := io.Copy(back, up); err != nil {
			back.Close()
			return
		}
		if half, ok := back.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		} else {
			back.Close()
		}
	}()
	if err := relay(w, back, true); err != nil {
		panic(http.ErrAbortHandler)
	}
}
