package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/policy"
)

// Spec returns the OCI runtime specification that a step of a plan would run with, as indented
// JSON with masked secrets. It fetches the image as Run does; nothing runs, and only the image
// is left.
func Spec(ctx context.Context, admitted *policy.Plan, step string, o Options) (_ []byte, err error) {
	o.Keyed = nil // their folders are enough
	r := newRun(admitted, admitted.Plan(), o)
	i := slices.IndexFunc(r.nodes, func(n *node) bool { return n.step.Name == step })
	if i < 0 {
		return nil, unknownStep(r.nodes, step)
	}
	n := r.nodes[i]
	r.images = r.newImages(ctx)
	defer r.images.Close()
	image, err := r.images.Get(ctx, wanted(n.step))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Fetcher.Store.Settle()) }()
	caches := r.restoreCaches(ctx, n)
	defer caches.end()
	mounts, err := r.mounts(n, caches)
	if err != nil {
		return nil, err
	}
	spec, err := o.Host.Spec(ctx, r.sandboxStep(n, image, mounts))
	if err != nil {
		return nil, err
	}
	return maskedJSON(spec, r.mask)
}

func unknownStep(nodes []*node, step string) error {
	names := []string{}
	for _, n := range nodes {
		names = append(names, n.step.Name)
	}
	return fmt.Errorf("the plan has no step or service %q (use one of %q)", step, names)
}

// maskedJSON masks only the strings, so that the result is still JSON.
func maskedJSON(v any, mask *logs.Mask) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode OCI spec: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // a 64-bit mask does not fit in a float64
	var document any
	if err := decoder.Decode(&document); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(maskStrings(document, mask))
	return out.Bytes(), err
}

func maskStrings(v any, mask *logs.Mask) any {
	switch v := v.(type) {
	case string:
		return mask.String(v)
	case []any:
		for i := range v {
			v[i] = maskStrings(v[i], mask)
		}
	case map[string]any:
		masked := map[string]any{}
		for key, value := range v {
			masked[mask.String(key)] = maskStrings(value, mask)
		}
		return masked
	}
	return v
}
