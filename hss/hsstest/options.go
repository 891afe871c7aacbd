package hsstest

import (
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// Option changes what a server does.
type Option func(*options)

// options holds what the options set. Zero values are the documented server.
type options struct {
	images            []Image
	credentials       []Credential
	tokens            []string
	projects          []string
	iamProjects       []IAMProject
	faults            []Fault
	withoutAuth       bool
	substring         bool
	unknownParameters bool
	repeatRows        bool
	shuffle           *uint64
	latency           time.Duration
	perSecond         int
	retryAfter        time.Duration
	registries        []Registry
	scanTimes         scanTimes
	now               func() time.Time
}

func newOptions(list []Option) *options {
	o := &options{now: time.Now, scanTimes: scanTimes{defaultWaiting, defaultScanning, defaultSyncing}}
	for _, option := range list {
		option(o)
	}
	if len(o.credentials) == 0 && len(o.tokens) == 0 {
		o.credentials = []Credential{DefaultCredential()}
	}
	return o
}

// WithImages adds rows to the inventory that the server starts with.
func WithImages(images ...Image) Option {
	return func(o *options) { o.images = append(o.images, images...) }
}

// WithInventory adds an inventory file's rows, registries, credentials, tokens,
// projects, IAM's projects and faults.
func WithInventory(inventory *inventoryfile.File) Option {
	return func(o *options) {
		o.images = append(o.images, inventory.Images...)
		o.credentials = append(o.credentials, inventory.Credentials...)
		o.tokens = append(o.tokens, inventory.Tokens...)
		o.projects = append(o.projects, inventory.Projects...)
		o.iamProjects = append(o.iamProjects, inventory.IAMProjects...)
		for i := range inventory.Faults {
			o.faults = append(o.faults, faultOf(&inventory.Faults[i]))
		}
		o.registries = append(o.registries, inventory.Registries...)
	}
}

// WithCredentials adds key pairs that are accepted. Of several with one
// access key the last counts.
func WithCredentials(credentials ...Credential) Option {
	return func(o *options) { o.credentials = append(o.credentials, credentials...) }
}

// WithTokens adds values of X-Auth-Token that are accepted.
func WithTokens(tokens ...string) Option {
	return func(o *options) { o.tokens = append(o.tokens, tokens...) }
}

// WithoutAuthentication accepts every request, signed or not.
func WithoutAuthentication() Option {
	return func(o *options) { o.withoutAuth = true }
}

// WithProjects names the projects that exist. Without it every project does.
func WithProjects(ids ...string) Option {
	return func(o *options) { o.projects = append(o.projects, ids...) }
}

// WithIAMProjects names the projects that IAM lists, each for the region that
// is its name. Without it IAM lists those of WithProjects for every region, or
// [DefaultProjectID].
func WithIAMProjects(projects ...IAMProject) Option {
	return func(o *options) { o.iamProjects = append(o.iamProjects, projects...) }
}

// WithSubstringMatching lets text filters match a part of a row's text, as
// other image endpoints of HSS do.
func WithSubstringMatching() Option {
	return func(o *options) { o.substring = true }
}

// WithUnknownParameters ignores query parameters that the reference doesn't have.
func WithUnknownParameters() Option {
	return func(o *options) { o.unknownParameters = true }
}

// WithShuffledRows serves rows in an order that depends on seed only, the
// same on all pages.
func WithShuffledRows(seed uint64) Option {
	return func(o *options) { o.shuffle = &seed }
}

// WithRepeatedRows begins every page but the first with a row that the page
// before it may have had, as when an image is pushed while a client pages.
func WithRepeatedRows() Option {
	return func(o *options) { o.repeatRows = true }
}

// WithLatency delays every answer. [Handler.SetLatency] changes it later.
func WithLatency(d time.Duration) Option {
	return func(o *options) { o.latency = d }
}

// WithThrottling answers 429 APIGW.0308 to what exceeds n requests a second,
// with a Retry-After of whole seconds if retryAfter is positive. With an n of
// 0 nothing is throttled.
func WithThrottling(n int, retryAfter time.Duration) Option {
	return func(o *options) { o.perSecond, o.retryAfter = n, retryAfter }
}

// WithClock tells the time, by which dates of signatures, locks of access
// keys, throttling and time ranges are judged. The default is time.Now.
// Latency and slow answers always take real time.
func WithClock(now func() time.Time) Option {
	return func(o *options) { o.now = now }
}

// WithFaults scripts faults from the start; see [Handler.Inject].
func WithFaults(faults ...Fault) Option {
	return func(o *options) { o.faults = append(o.faults, faults...) }
}
