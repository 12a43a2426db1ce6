// Package lockfile reads and writes the lock file of a pipeline: the digests that its images had when they were
// locked. It lies beside the pipeline file and belongs into version control with it:
//
//	{
//	  "version": 1,
//	  "images": {
//	    "docker.io/library/golang:1.26": {
//	      "linux/amd64": "sha256:..."
//	    }
//	  }
//	}
//
// It is not for asking registries: it knows names and digests only.
package lockfile
