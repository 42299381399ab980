package js

import (
	"errors"
	"net/http"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// Serve implements edgefunction.Program.
func (p *program) Serve(w http.ResponseWriter, r *http.Request, next edgefunction.Next) error {
	if !hasHost(r) {
		http.Error(w, "the Host field names no host", http.StatusBadRequest)
		return nil
	}
	i, err := p.take()
	if err != nil {
		return err
	}
	x := newExchange(r.Context(), &p.settings, p.bundle.places)
	x.w, x.r = w, r
	if err := i.serve(x); err != nil {
		err = i.judge(err)
		i.close()
		x.cancel()
		if broken := (*brokenBody)(nil); errors.As(err, &broken) && broken.slow() {
			w.Header().Set("Connection", "close")
			http.Error(w, "the request's body came too slowly", http.StatusRequestTimeout)
			return nil
		}
		return err
	}
	x.body.closed = true
	var rest func()
	if x.answer.waits && !x.settled {
		x.linger() // what waitUntil was given goes on without the client
		rest = func() { p.finish(i) }
		select {
		case p.background <- struct{}{}:
			go func() {
				defer func() { <-p.background }()
				p.finish(i)
			}()
			rest = nil
		default:
		}
	} else {
		x.cancel()
		p.put(i)
	}
	if rest != nil {
		defer rest() // after a panic of next, too
	}
	if x.answer.kind == answered {
		return x.answer.write(w, r)
	}
	return next.ServeHTTP(w, x.handOn())
}

// finish lets an instance whose request was answered go on until nothing is left that
// waitUntil was given. What goes wrong then is logged: the answer is out.
func (p *program) finish(i *instance) {
	x := i.x
	defer x.cancel()
	if err := i.work(func() bool { return x.settled }); err != nil {
		x.r = nil // whether the client is there no longer matters
		p.settings.Log.Error("waitUntil: what was left to do after the answer failed", "error", i.judge(err))
		i.close()
		return
	}
	p.put(i)
}

// serve has the function answer, or hand on, the exchange's request.
func (i *instance) serve(x *exchange) error {
	i.run(x.ctx, x)
	h, err := i.bring(x.head())
	if err != nil {
		return err
	}
	r, err := i.apply(i.s.serve, h)
	if err != nil {
		return err
	}
	for _, h := range []handle{h, r} {
		if _, err := i.invoke(i.freeValue, uint64(h)); err != nil {
			return err
		}
	}
	return i.work(func() bool { return x.answer.kind != pending })
}

// bring makes a string of the guest, by way of the mailbox where it fits.
func (i *instance) bring(text string) (handle, error) {
	if len(text) >= mailbox {
		return i.giveText(text)
	}
	if !i.module.Memory().WriteString(i.s.mailbox, text) {
		return 0, errBounds
	}
	h, err := i.invoke(i.newString, uint64(i.s.mailbox), uint64(len(text)))
	return handle(h), err
}

// work runs what the guest has to do until done.
func (i *instance) work(done func() bool) error {
	for {
		if err := i.drain(); err != nil {
			return err
		}
		if done() {
			return nil
		}
		if err := i.wait(); err != nil {
			return err
		}
	}
}

var errStuck = errors.New("the promise never settles: no timer and no fetch is left that it could wait for")

// wait waits for the next timer or the next fetch to end.
func (i *instance) wait() error {
	x := i.x
	h, err := i.apply(i.s.tick)
	if err != nil {
		return err
	}
	ms, err := i.takeFloat(h)
	if err != nil || ms == 0 {
		return err
	}
	var due <-chan time.Time
	if ms > 0 {
		timer := time.NewTimer(time.Duration(ms * float64(time.Millisecond)))
		defer timer.Stop()
		due = timer.C
	} else if len(x.running) == 0 {
		return &thrown{errStuck.Error()}
	}
	select {
	case <-due:
		return nil
	case f := <-x.results:
		return i.settle(f)
	case <-x.ctx.Done():
		return errInterrupted
	}
}

// settle tells the guest what became of a fetch.
func (i *instance) settle(f fetched) error {
	i.x.running[f.id]()
	delete(i.x.running, f.id)
	wrong := ""
	if f.err != nil {
		wrong = f.err.Error()
	}
	var args []handle
	for _, s := range []string{f.id, wrong, f.head} {
		h, err := i.giveText(s)
		if err != nil {
			return err
		}
		args = append(args, h)
	}
	h, err := i.giveBytes(f.body)
	if err != nil {
		return err
	}
	args = append(args, h)
	r, err := i.apply(i.s.settle, args...)
	if err != nil {
		return err
	}
	for _, h := range append(args, r) {
		if _, err := i.invoke(i.freeValue, uint64(h)); err != nil {
			return err
		}
	}
	return nil
}
