package inventory

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
)

// ScanTarget is an image that HSS may be requested to scan: see internal/scan. It is comparable.
type ScanTarget struct {
	key    key
	pinned string // the digest that goes with a tag
}

// ScanTarget returns the image to scan. ok is false if its project does not scan on demand.
func (i *Inventory) ScanTarget(ref *image.Reference) (t ScanTarget, ok bool) {
	t, err := i.FindScanTarget(ref)
	return t, err == nil && t.Project().ScanOnDemand.Enabled
}

// FindScanTarget returns the image to scan, whether or not its project scans on demand. It fails if no registry of the
// configuration claims the image, or HSS cannot list it.
func (i *Inventory) FindScanTarget(ref *image.Reference) (ScanTarget, error) {
	k, reason := i.locate(ref)
	if reason != "" {
		return ScanTarget{}, errors.New(reason)
	}
	return ScanTarget{key: k.clone(), pinned: strings.Clone(ref.Digest)}, nil
}

// String returns the image.
func (t ScanTarget) String() string { return t.key.String() }

// Project returns the configuration of the project.
func (t ScanTarget) Project() *config.Project { return &t.key.project().Project }

// Registry returns the name of the configured registry.
func (t ScanTarget) Registry() string { return t.key.registry.Name }

// IsPinned reports whether the image is named by a digest.
func (t ScanTarget) IsPinned() bool { return t.pinned != "" }

// IsTemporary reports whether a call that failed may succeed a little later without anyone changing anything.
func (t ScanTarget) IsTemporary(err error) bool {
	return t.key.project().calls.Classify(err) != policy.CauseConfiguration
}

// Rows returns the image's rows as HSS lists them now, and keeps them for look-ups.
func (t ScanTarget) Rows() (rows []hss.Image, err error) {
	k, p := t.key, t.key.project()
	i := p.inventory
	at, err := p.calls.CallInBackground(p.calls.Images, func(ctx context.Context) (err error) {
		rows, err = k.rows(ctx)
		return err
	})
	records, unreadable := recordsOf(rows, i.records.Get(k).Value)
	if err = cmp.Or(err, unreadable); err != nil {
		return nil, err
	}
	i.records.Set(k, nil, &lookup.Answer[[]policy.Record]{Value: records, AsOf: at, Stored: i.clock.Now()})
	return slices.DeleteFunc(rows, func(row hss.Image) bool { return t.pinned != "" && !hasDigest(&row, t.pinned) }), nil
}

// Scan requests a scan of a row.
func (t ScanTarget) Scan(row *hss.Image) error {
	return t.call(func(ctx context.Context, p *project) error {
		return p.hss.StartScan(ctx, hss.ScanRequest{EnterpriseProjectID: p.EnterpriseProjectID, Image: *row})
	})
}

// ErrUnknownRegistry reports that HSS lists no registry that is the configured one.
var ErrUnknownRegistry = errors.New("HSS lists no such registry")

// Synchronise requests that HSS reads the list of the image's registry anew.
func (t ScanTarget) Synchronise() error {
	return t.call(func(ctx context.Context, p *project) error {
		r := hss.SyncRequest{EnterpriseProjectID: p.EnterpriseProjectID}
		for known, err := range p.hss.Registries(ctx, hss.RegistryRequest{EnterpriseProjectID: p.EnterpriseProjectID}) {
			if err != nil {
				return err
			}
			if t.key.registry.is(&known) && len(r.Registries) < hss.MaxSyncRegistries {
				r.Registries = append(r.Registries, hss.SyncRegistry{ID: known.ID, Type: known.Type})
			}
		}
		if len(r.Registries) == 0 {
			return ErrUnknownRegistry
		}
		return p.hss.SyncRegistries(ctx, r)
	})
}

// DescribeScanFailure returns in one line why HSS could not be called.
func DescribeScanFailure(l language.Language, err error) string {
	return strings.TrimPrefix(lookup.Describe(l, err), l.Sprintf("HSS could not be called: %s", ""))
}

// call calls HSS within the background's share of the project's limits.
func (t ScanTarget) call(f func(context.Context, *project) error) error {
	p := t.key.project()
	_, err := p.calls.CallInBackground(nil, func(ctx context.Context) error { return f(ctx, p) })
	return err
}

// is reports whether a registry of HSS is the configured one: of its type, name and ID, and of one of its hosts. SWR's
// shared edition is one registry whatever HSS shows as its address.
func (r *registry) is(known *hss.Registry) bool {
	ofType := known.Type != "" && slices.ContainsFunc(r.ImageTypes, func(t string) bool { return hss.ImageType(t).RegistryType() == known.Type })
	isSWR := known.Type == hss.RegistryTypeSWRPrivate || known.Type == hss.RegistryTypeSWRShared
	ofHost := isSWR || r.RegistryID != "" || slices.Contains(r.Hosts, known.Host())
	return known.ID != "" && ofType && ofHost &&
		same(r.RegistryType, string(known.Type)) && same(r.RegistryName, known.Name) && same(r.RegistryID, known.ID)
}
