package tunnel

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one connection of an agent, seen from the edge.
type conn struct {
	hub                        *Hub
	token                      digest
	agent, id, version, remote string
	since                      time.Time

	client  *http.ClientConn
	said    *io.PipeReader // what the edge says to the agent itself
	control *io.PipeWriter // and where it says it

	streams atomic.Int64
	ready   atomic.Bool // it may be chosen
	leaving atomic.Bool // it may not be chosen any more
	ill     atomic.Pointer[string]
	rtt     atomic.Int64 // nanoseconds, the least that was measured
	begun   sync.Once
	cut     chan struct{} // closed when what is under way has had its time
	cutting sync.Once
	idle    chan struct{} // closed once a connection that is given up has nothing under way
}

// serve speaks to the agent until the connection ends, and closes it.
func (c *conn) serve(raw net.Conn) {
	defer c.hub.remove(c)
	defer raw.Close()
	err := c.open(raw)
	if err == nil {
		err = c.follow()
		c.client.Close()
	}
	c.leaving.Store(true)
	c.hub.changed()
	c.hub.logger.Info("an agent's connection has ended", "agent", c.agent, "remote", c.remote, "reason", err)
}

// open answers the handshake and begins HTTP/2.
func (c *conn) open(raw net.Conn) error {
	if err := raw.SetDeadline(time.Now().Add(c.hub.timing.PingAfter + c.hub.timing.PingTimeout)); err != nil {
		return fmt.Errorf("setting a deadline: %w", err)
	}
	if _, err := io.WriteString(raw, switching); err != nil {
		return fmt.Errorf("answering the handshake: %w", err)
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("setting a deadline: %w", err)
	}
	client, err := c.hub.transport.NewClientConn(context.WithValue(context.Background(), connKey{}, raw), "http", "tunnel:80")
	if err != nil {
		return fmt.Errorf("beginning HTTP/2: %w", err)
	}
	c.client = client
	return nil
}

// follow keeps a request to the agent itself open, in which the edge writes a line
// for each ping and the agent one for each ping and each change. It returns when
// the connection has ended or is to be closed.
func (c *conn) follow() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer c.control.Close()
	ended := make(chan error, 1)
	c.client.SetStateHook(func(cc *http.ClientConn) {
		if err := cc.Err(); err != nil {
			select {
			case ended <- err:
			default:
			}
		}
	})
	lines := make(chan status)
	go func() {
		err := c.read(ctx, lines)
		select {
		case ended <- err:
		default:
		}
	}()
	return c.converse(ctx, lines, ended)
}

// lineEvery bounds how fast an agent may talk; flow control holds it back.
const lineEvery = 10 * time.Millisecond

// read sends what the agent says to lines until the agent or ctx ends.
func (c *conn) read(ctx context.Context, lines chan<- status) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://tunnel/", c.said)
	if err != nil {
		return err
	}
	req.Header.Set(headerControl, "1")
	res, err := c.client.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("asking the agent how it is: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent answers %d when asked how it is", res.StatusCode)
	}
	scan := bufio.NewScanner(res.Body)
	scan.Buffer(make([]byte, 512), maxLine)
	for scan.Scan() {
		var s status
		if err := json.Unmarshal(scan.Bytes(), &s); err != nil {
			return fmt.Errorf("reading how the agent is: %w", err)
		}
		select {
		case lines <- s:
		case <-ctx.Done():
			return ctx.Err()
		}
		time.Sleep(lineEvery)
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("reading how the agent is: %w", err)
	}
	return errors.New("the agent has ended the conversation")
}

// converse pings the agent and takes in what it says.
func (c *conn) converse(ctx context.Context, lines <-chan status, ended <-chan error) error {
	var seq uint64
	var sent time.Time
	ping := func() {
		seq, sent = seq+1, time.Now()
		go io.WriteString(c.control, strconv.FormatUint(seq, 10)+"\n")
	}
	ping()
	tick := time.NewTicker(c.hub.timing.Status)
	defer tick.Stop()
	deadline := time.AfterFunc(c.hub.timing.PingAfter+c.hub.timing.PingTimeout, func() {
		if !c.ready.Load() {
			c.client.Close()
		}
	})
	defer deadline.Stop()
	var answered uint64
	var err error
	for {
		select {
		case s := <-lines:
			if s.Seq == seq && answered != seq {
				answered = seq
				c.measured(time.Since(sent))
			}
			c.heard(s)
		case <-tick.C:
			switch late := time.Since(sent) > c.hub.timing.PingAfter+c.hub.timing.PingTimeout; {
			case answered == seq:
				ping()
			case late && lines != nil:
				return errors.New("the agent does not answer")
			}
		case err = <-ended: // requests in flight may go on, as after GOAWAY
			ended, lines = nil, nil
			if !c.leaving.Load() {
				c.drain(c.hub.timing.Drain)
			}
		case <-c.idle:
			return cmp.Or(err, errGivenUp)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// measured keeps the least round trip: what is over it is the agent's load.
func (c *conn) measured(d time.Duration) {
	if old := c.rtt.Load(); old == 0 || int64(d) < old {
		c.rtt.Store(int64(d))
	}
}

// heard takes in what the agent says of itself.
func (c *conn) heard(s status) {
	if s.Origin == "" {
		c.ill.Store(nil)
	} else {
		why := printable(s.Origin, 200)
		c.ill.Store(&why)
	}
	c.begun.Do(func() {
		c.ready.Store(true)
		c.hub.changed()
		c.hub.logger.Info("an agent is connected", "agent", c.agent, "version", c.version, "remote", c.remote)
	})
	if s.Draining {
		c.drain(agentDrain)
	}
}

// agentDrain bounds how long an agent that is leaving may take: it has a bound of
// its own.
const agentDrain = time.Hour

var errGivenUp = errors.New("it was given up")

// drain has no further request sent over the connection, tells the agent so by
// ending the conversation, and has it closed once nothing is under way or the time
// is over. A later call may shorten the time.
func (c *conn) drain(most time.Duration) {
	end := time.AfterFunc(most, func() { c.cutting.Do(func() { close(c.cut) }) })
	if c.leaving.Swap(true) {
		return
	}
	c.hub.changed()
	c.control.Close()
	go func() {
		defer close(c.idle)
		defer end.Stop()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for c.streams.Load() > 0 {
			select {
			case <-c.cut:
				return
			case <-tick.C:
			}
		}
	}()
}
