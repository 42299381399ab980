package caddyapoxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/cluster"
	"github.com/apoxy-dev/caddy-apoxy/controller"
	"github.com/apoxy-dev/caddy-apoxy/dashboard"
	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/doctor"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/setup"
	"github.com/apoxy-dev/caddy-apoxy/store/damage"
	"github.com/apoxy-dev/caddy-apoxy/timeline"
	"github.com/apoxy-dev/caddy-apoxy/vitals"
	"github.com/apoxy-dev/caddy-apoxy/webhook"
)

// runtimes holds one runtime per store, across configurations.
var runtimes = caddy.NewUsagePool()

// loadTimeout bounds what a start waits for of the store, and loadPatience how long it
// waits for all records to be read before it serves them one by one.
const (
	loadTimeout  = 2 * time.Minute
	loadPatience = time.Second
)

// runtime is everything that lives as long as a store is open, however often
// the configuration is reloaded: records in memory, zone data, controller,
// scheduler and API.
type runtime struct {
	key    string
	opened *openedStore
	logger *zap.Logger
	// apps are the configurations in force, the newest current.
	apps generations[App]

	store      *damage.Store
	table      *hosts.Table
	controller *controller.Controller
	scheduler  *issuance.Scheduler
	api        *apiserver.Server
	dashboard  *dashboard.Dashboard
	webhooks   *webhook.Sender
	timelines  *timeline.Recorder
	vitals     *vitals.Recorder
	rounds     *doctor.Rounds
	setupKeys  setup.Keys // of links to set-up pages
	member     *cluster.Member
	connecting *connecting

	writableDashboard *dashboard.Dashboard

	verifying sync.Mutex // one look through the whole store at a time
	backingUp sync.Mutex // and one backup
	nodes     nodesNow
	surveys   surveys

	since atomic.Int64 // the first revision of the store's own history

	started sync.Once
	startup error
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup

	events   chan controller.Transition // to be raised
	overflow atomic.Bool                // some were lost lately

	edge        edgeHost
	edgeChanged chan struct{} // another configuration came into force

	mu     sync.Mutex
	rrsets map[string]*dnsprovider.RRSets // by zone

	leave  context.CancelFunc // nil before joinCluster
	joined sync.WaitGroup
	loaded atomic.Bool   // start has read everything, and told everybody
	begun  atomic.Bool   // start has been called
	told   chan struct{} // closed once the controller and issuance know all records of the start
	asked  chan struct{} // bounds the questions of other nodes that are worked on
}

// openRuntime returns the runtime of the store, opening it if need be. Each
// call must be followed by one runtimes.Delete(key).
func openRuntime(s StoreModule, logger *zap.Logger) (*runtime, error) {
	v, _, err := runtimes.LoadOrNew(s.Key(), func() (caddy.Destructor, error) {
		opened, err := openStore(s, logger)
		if err != nil {
			return nil, err
		}
		rt, err := newRuntime(opened)
		if err != nil {
			return nil, leaveStore(opened, err)
		}
		opened.runtime.Store(rt)
		return rt, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*runtime), nil
}

// present is the logger of the configuration in force, or before that the first.
func (rt *runtime) present(first *zap.Logger) *zap.Logger {
	if rt != nil {
		if a := rt.apps.Current(); a != nil {
			return a.logger
		}
	}
	return first
}

func newRuntime(opened *openedStore) (*runtime, error) {
	st, logger := opened.store, opened.logger
	rt := &runtime{key: opened.key, opened: opened, logger: logger, store: st, table: hosts.New(), rrsets: map[string]*dnsprovider.RRSets{}}
	rt.events = make(chan controller.Transition, eventBacklog)
	rt.edgeChanged = make(chan struct{}, 1)
	rt.asked, rt.told = make(chan struct{}, maxAsked), make(chan struct{})
	rt.webhooks = rt.newWebhooks(logger)
	rt.timelines, rt.vitals, rt.rounds = rt.newTimelines(logger), newVitals(), rt.newRounds()
	rt.surveys = newSurveys()
	rt.setupKeys.Store = st
	rt.ctx, rt.cancel = context.WithCancel(context.Background())
	var err error
	if rt.connecting, err = rt.newConnecting(logger.Named("domainconnect")); err != nil {
		return nil, err
	}
	rt.member = rt.newMember(st, logger.Named("cluster"))
	rt.scheduler = issuance.New(issuance.Config{
		Store:      st,
		Prober:     liveResolver{rt},
		Challenges: liveChallenges{rt},
		Edge:       rt.edgeNow,
		OnChange:   func(hostname string) { rt.controller.CertificateChanged(hostname) },
		OnExpiring: rt.certificateExpiring,
		OnOrdered:  rt.certificateOrdered,
		Mine:       rt.member.Mine,
		Live:       rt.member.Live,
		Term:       rt.member.Term,
		Ready:      rt.told,
		Logger:     logger.Named("issuance"),
	})
	rt.controller = controller.New(controller.Config{
		Store:    st,
		Table:    rt.table,
		Resolver: liveResolver{rt},
		Issuance: rt.scheduler,
		Stored:   rt.scheduler.Stored,
		Target:   rt.targetHealth,
		TargetOf: rt.targetHealthOf,
		Settings: rt.settings,
		Connect:  rt.connectOf,
		Delete: func(ctx context.Context, name string, uid types.UID) error {
			return rt.api.DeleteUnproven(ctx, name, uid)
		},
		OnTransition: rt.emit,
		Mine:         rt.member.Mine,
		Live:         rt.member.Live,
		Pass:         rt.member.Hint,
		Peers:        rt.fallingElsewhere,
		OnFalling:    rt.fallingHere(),
		Logger:       logger.Named("controller"),
	})
	api, err := apiserver.New(apiserver.Config{
		Store:        inForce{st, rt.table, &rt.since},
		Index:        rt.table,
		Zone:         rt.zoneName,
		NameServers:  rt.nameServers,
		Reserved:     rt.reserved,
		Prepare:      rt.prepare,
		Check:        rt.check,
		Revoke:       rt.revoke,
		Certificates: uploads{rt},
		SetupLink:    rt.setupLink,
		NextLook:     rt.controller.NextLook,
		Version:      version(),
		Logger:       logger.Named("api"),
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the API: %w", err)
	}
	rt.api = api
	if err := rt.newDashboards(); err != nil {
		return nil, err
	}
	rt.apps.changed = func(a *App) {
		rt.connecting.changed(a)
		rt.controller.TargetsChanged()
		rt.webhooks.EndpointsChanged()
		rt.rounds.Changed()
		select {
		case rt.edgeChanged <- struct{}{}:
		default: // there is a sign already
		}
	}
	return rt, nil
}

// start reads all records and sets the work going, once. It returns when the
// table is complete or, with very many records, soon: until then it reads from the store
// what it is asked for, so that no name is denied for want of having been read. What
// looks at records, and orders for them, is told of all beside serving, and begins
// after that: before, what is about to fall could not be held against all there is.
func (rt *runtime) start() error {
	rt.started.Do(func() {
		if rt.startup = rt.whole(rt.ctx); rt.startup != nil {
			return
		}
		rt.begun.Store(true)
		began, loaded, failed := time.Now(), make(chan struct{}), make(chan error, 1)
		rt.table.ReadThrough(rt.readHost)
		rt.run("raising events", rt.raiseEvents)
		rt.run("delivering webhooks", rt.webhooks.Run)
		rt.run("keeping the key of Domain Connect", rt.keepKey)
		rt.run("asking DNS providers for Domain Connect", rt.connecting.finder.Run)
		rt.run("writing time lines", rt.timelines.Run)
		rt.run("counting over the last hour", rt.vitals.Run)
		rt.joinCluster()
		rt.run("following the records", func(ctx context.Context) error {
			err := hosts.Follow(ctx, rt.store, hosts.Follower{
				Table:    rt.table,
				OnChange: rt.changed,
				OnLoaded: func() {
					close(loaded)
					rt.logger.Info("all records are read", zap.Int("records", rt.table.Len()), zap.Duration("took", time.Since(began)))
				},
				OnTold: func() { close(rt.told) },
				Logger: rt.logger.Named("hosts"),
			})
			failed <- err
			return err
		})
		select {
		case <-loaded:
		case err := <-failed:
			rt.startup = fmt.Errorf("reading the records of %s: %w", rt.key, err)
			return
		case <-time.After(loadPatience):
			rt.logger.Info("there are many records: names are answered from the store until all are read, and writes wait for that")
		}
		rt.resolveEdge(rt.ctx, rt.apps.Current())
		rt.run("removing uploads without a record", rt.sweepUploads)
		rt.runTold("removing time lines without a record", rt.sweepTimelines)
		rt.run("following the edge", rt.followEdge)
		rt.run("looking through the store", rt.patrol)
		rt.run("obtaining certificates", rt.scheduler.Run)
		rt.runTold("looking at records", rt.controller.Run)
		rt.runTold("watching targets", rt.watchTargets)
		rt.runTold("taking part in the cluster", func(context.Context) error {
			rt.loaded.Store(true)
			rt.member.Work()
			return nil
		})
	})
	return rt.startup
}

// run keeps one part of the work going until the runtime is closed.
func (rt *runtime) run(what string, f func(context.Context) error) {
	rt.work.Go(func() {
		if err := f(rt.ctx); err != nil && rt.ctx.Err() == nil {
			rt.logger.Error("a part of the work has stopped", zap.String("part", what), zap.Error(err))
		}
	})
}

// runTold is run once all records of the start are told.
func (rt *runtime) runTold(what string, f func(context.Context) error) {
	rt.run(what, func(ctx context.Context) error {
		if rt.waitTold(ctx) != nil {
			return nil // it is closed
		}
		return f(ctx)
	})
}

// waitTold returns once all records of the start are told, or with the context's error.
func (rt *runtime) waitTold(ctx context.Context) error {
	if !rt.begun.Load() {
		return nil
	}
	select {
	case <-rt.told:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting until all records are taken up after the start: %w", ctx.Err())
	}
}

// Destruct ends the work and leaves the store; the pool calls it when the last
// configuration has left.
func (rt *runtime) Destruct() error {
	rt.api.Close()
	rt.cancel()
	rt.work.Wait()
	rt.leaveCluster() // last: what was under way held locks by its lease
	return leaveStore(rt.opened, nil)
}

func (rt *runtime) settings() ownership.Settings {
	a := rt.apps.Current()
	if a == nil {
		return ownership.Settings{}
	}
	s := a.settings
	s.Zone = rt.edgeZone(a)
	s.Issuers = rt.scheduler.CAAIssuers()
	a.warnOfCAA(s.Issuers) // some CAs tell their names with the first order only
	return s
}

// zoneName is Z of the configuration in force.
func (rt *runtime) zoneName() string {
	if a := rt.apps.Current(); a != nil {
		return a.zone.Name
	}
	return ""
}

// nameServers are the host names of Z's name servers in the configuration in
// force.
func (rt *runtime) nameServers() (names []string) {
	if a := rt.apps.Current(); a != nil {
		for _, n := range a.zone.Nameservers {
			names = append(names, n.Name)
		}
	}
	return names
}

// version is this build's, as Caddy tells it.
func version() string {
	short, _ := caddy.Version()
	return short
}

// errNotStarted is met only in the moments before the first Start.
var errNotStarted = errors.New("apoxy has not started yet")

// runtime waits for the app to join its runtime, which it has long done except
// in the first moments of the process.
func (a *App) runtime(ctx context.Context) (*runtime, error) {
	if rt := a.rt.Load(); rt != nil {
		return rt, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-a.joined:
		if rt := a.rt.Load(); rt != nil {
			return rt, nil
		}
	case <-ctx.Done():
	}
	return nil, errNotStarted
}
