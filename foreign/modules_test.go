package foreign

// The packages of the suites, so that their modules, and those of their tests, are in go.mod.
import (
	_ "github.com/containerd/containerd/v2/pkg/archive"
	_ "github.com/containerd/containerd/v2/pkg/archive/tartest"
	_ "github.com/containerd/containerd/v2/pkg/testutil"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	_ "github.com/containerd/continuity/fs/fstest"
	_ "github.com/containerd/log/logtest"
	_ "github.com/google/go-containerregistry/pkg/v1/mutate"
	_ "github.com/opencontainers/umoci/oci/layer"
	_ "github.com/stretchr/testify/require"
)
