package inventory

import (
	"cmp"
	"context"
	"net/url"
	"sync"

	"k8s.io/utils/ptr"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// detailKey is a list of secrets or of malicious files of one scan.
type detailKey struct {
	scanKey

	kind policy.Detail
}

func (k detailKey) Endpoint() *lookup.Endpoint { return k.of.lists[k.kind] }

func (k detailKey) secrets() hss.SecretRequest {
	r := &k.request
	return hss.SecretRequest{
		ImageID: r.ImageID, ImageType: r.ImageType, Namespace: r.Namespace, ImageName: r.ImageName, Version: r.Tag, EnterpriseProjectID: r.EnterpriseProjectID,
	}
}

func (k detailKey) maliciousFiles() hss.MaliciousFileRequest {
	return hss.MaliciousFileRequest(k.secrets())
}

func (k detailKey) query() (url.Values, error) {
	if k.kind == policy.DetailSecrets {
		return k.secrets().Query()
	}
	return k.maliciousFiles().Query()
}

// details are what HSS lists of a scan, of one kind.
type details struct {
	secrets *policy.Secrets
	// unlisted is why secrets is nil though HSS answered.
	unlisted  string
	malicious []policy.MaliciousFile
}

func (d details) bytes() int {
	const each = 48
	n := len(d.unlisted)
	if d.secrets != nil {
		n += d.secrets.Bytes()
	}
	for i := range d.malicious {
		n += each + len(d.malicious[i].Name) + len(d.malicious[i].Path) + len(d.malicious[i].Description)
	}
	return n
}

// detailed are facts to which details of their scans are added, side by side.
type detailed struct {
	*Inventory

	project *project
	wanted  policy.Details
	// lane is that of look-ups that a verdict needs.
	lane   lookup.Lane
	listed func(project string, kind policy.Detail, o Outcome)
	// lookUps write into the scans, so they begin when all of them are known.
	lookUps []func()

	mu    sync.Mutex // of what the facts say of an old list
	facts policy.Facts
}

// WithDetails returns the facts of a reference with details of their scans. Those that are not available in the time that
// they may take stay unknown, and the scan says why; the look-up goes on. If they are not needed for a verdict, they are
// looked up in the background, and an older list will do.
func (i *Inventory) WithDetails(ctx context.Context, ref image.Reference, f policy.Facts, wanted policy.Details) policy.Facts {
	return i.withDetails(ctx, &ref, f, wanted, lookup.AdmissionLane(ctx), i.observer.Listed)
}

func (i *Inventory) withDetails(
	ctx context.Context, ref *image.Reference, f policy.Facts, wanted policy.Details, l lookup.Lane, listed func(project string, kind policy.Detail, o Outcome),
) policy.Facts {
	k, reason := i.locate(ref)
	if reason != "" || f.State != policy.StateFound {
		return f
	}
	f.Records = ownRecords(f.Records)
	d := &detailed{Inventory: i, project: k.project(), wanted: wanted, lane: l, listed: listed, facts: f}
	for kind, w := range wanted {
		limited, cancel := context.WithTimeout(ctx, w.Wait)
		defer cancel()
		switch kind {
		case policy.DetailVulnerabilities:
			d.addVulnerabilities(limited)
		case policy.DetailSecrets:
			d.addSecrets(limited)
		case policy.DetailMaliciousFiles:
			d.addMaliciousFiles(limited)
		}
	}
	if len(d.lookUps) == 1 {
		d.lookUps[0]()
		return d.facts
	}
	var group sync.WaitGroup
	for _, lookUp := range d.lookUps {
		group.Go(lookUp)
	}
	group.Wait()
	return d.facts
}

// detailOf returns a list of one scan, or why it is not known.
func detailOf[K lookup.Key, V any](ctx context.Context, d *detailed, c *lookup.Cache[K, V], k K, kind policy.Detail) (list V, why string) {
	needed, l := d.wanted[kind].Needed, lookup.Background
	if needed {
		l = d.lane
	}
	a, outcome, err := cached(ctx, d.Inventory, c, k, needed, l)
	d.listed(d.project.Name, kind, outcome)
	if outcome == Unavailable {
		return list, lookup.Describe(d.language, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := &d.facts; err != nil && (!f.Stale || f.AsOf.After(a.AsOf)) {
		f.AsOf, f.Stale, f.StaleReason = a.AsOf, true, lookup.Describe(d.language, err)
	}
	return a.Value, ""
}

// cached returns a list, or why it is not known. If a verdict needs it, and an old one had to be used, the error says why.
func cached[K lookup.Key, V any](
	ctx context.Context, i *Inventory, c *lookup.Cache[K, V], k K, needed bool, l lookup.Lane,
) (*lookup.Answer[V], Outcome, error) {
	a := c.Get(k)
	age := i.clock.Since(a.AsOf)
	usable := a.IsKnown() && age <= i.cfg.MaxStaleness
	switch {
	case a.IsKnown() && age < i.cfg.FreshFor:
		if needed && l != lookup.Background && i.started.Load() && age >= i.cfg.FreshFor/10*refreshTenths {
			c.Refresh(k, a)
		}
		return a, Hit, nil
	case usable && !needed:
		c.Refresh(k, a)
		return a, Stale, nil
	}
	fresh, err := c.Obtain(ctx, k, a, l, usable)
	switch {
	case err == nil:
		return fresh, Miss, nil
	case usable:
		return a, Stale, err
	default:
		return nil, Unavailable, err
	}
}

// listed returns where details of the scan are kept.
func (w *wantedScan) listed() *policy.Listed {
	if w.scan.Listed == nil {
		w.scan.Listed = &policy.Listed{}
	}
	return w.scan.Listed
}

// addSecrets adds those of all scans, or why they are unknown.
func (d *detailed) addSecrets(ctx context.Context) {
	all := d.project.scansOf(d.facts.Records, func(s *policy.Scan) bool { return s.Status != v1alpha1.ScanStatusUnscan })
	for n := range all {
		w := &all[n]
		into, k := w.listed(), detailKey{w.key, policy.DetailSecrets}
		if w.ofAll && k.request.ImageID == "" {
			continue // its architectures have lists of their own
		}
		before := d.details.Get(k)
		into.SecretsUnknown = w.unlisted(d.language, n, before.IsKnown(), k.query)
		known := before.IsKnown() && d.clock.Since(before.AsOf) <= d.cfg.MaxStaleness
		switch {
		case into.SecretsUnknown != "":
		case w.underWay && known: // until the scan is done, HSS may list fewer, which must not admit the image
			into.Secrets, into.SecretsUnknown = before.Value.secrets, before.Value.unlisted
		case w.reset:
			into.SecretsUnknown = d.language.Text("HSS is scanning the image, and shows no result of its last scan")
		default:
			d.lookUps = append(d.lookUps, func() {
				list, why := detailOf(ctx, d, d.details, k, k.kind)
				into.Secrets, into.SecretsUnknown = list.secrets, cmp.Or(why, list.unlisted)
			})
		}
	}
}

// addMaliciousFiles adds some of those that scans count.
func (d *detailed) addMaliciousFiles(ctx context.Context) {
	all := d.project.scansOf(d.facts.Records, func(s *policy.Scan) bool { return ptr.Deref(s.MaliciousFiles, 0) > 0 })
	for n := range all {
		w := &all[n]
		into, k := w.listed(), detailKey{w.key, policy.DetailMaliciousFiles}
		if w.unlisted(d.language, n, d.details.Get(k).IsKnown(), k.query) != "" {
			continue
		}
		d.lookUps = append(d.lookUps, func() {
			list, _ := detailOf(ctx, d, d.details, k, k.kind)
			into.MaliciousFiles = list.malicious
		})
	}
}

// listDetails lists details of one scan.
func (i *Inventory) listDetails(ctx context.Context, k detailKey, _ details) (d details, err error) {
	if k.kind == policy.DetailMaliciousFiles {
		for row, err := range k.of.client.MaliciousFiles(ctx, k.maliciousFiles()) {
			if err != nil {
				return details{}, err
			}
			d.malicious = append(d.malicious, policy.MaliciousFile{Name: lookup.Short(row.Name), Path: lookup.Short(row.Path), Description: lookup.Short(row.Description)})
			if len(d.malicious) == policy.MaxMaliciousFiles {
				break
			}
		}
		return d, nil
	}
	d.secrets = &policy.Secrets{}
	listed := 0
	for row, err := range k.of.client.Secrets(ctx, k.secrets()) {
		if err != nil {
			return details{}, err
		}
		if listed++; listed > maxListed {
			return details{unlisted: i.language.Sprintf("HSS lists more than %d", maxListed)}, nil
		}
		d.secrets.Add(policy.Secret{Name: lookup.Short(row.Name), Severity: secretSeverity(row.Severity), Path: lookup.Short(row.FilePath)})
	}
	return d, nil
}

// secretSeverity converts a severity. One that HSS does not document counts as the worst.
func secretSeverity(s hss.SecretSeverity) v1alpha1.SecretSeverity {
	switch s {
	case hss.SecretLow:
		return v1alpha1.SecretSeverityLow
	case hss.SecretMedium:
		return v1alpha1.SecretSeverityMedium
	case hss.SecretHigh:
		return v1alpha1.SecretSeverityHigh
	case hss.SecretCritical:
		return v1alpha1.SecretSeverityCritical
	}
	return "unknown"
}
