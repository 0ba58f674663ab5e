package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// rpm writes gpdedup-VERSION-1.ARCH.rpm.
func (r *release) rpm(arch string, files []file) error {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	if machine == "" {
		return fmt.Errorf("rpm has no name for the architecture %s", arch)
	}
	top := filepath.Join(r.scratch, "rpm-"+arch)
	stage := filepath.Join(top, "stage")
	if err := r.stage(stage, files); err != nil {
		return err
	}
	version := packageVersion(r.version)
	spec := filepath.Join(top, "gpdedup.spec")
	if err := os.WriteFile(spec, []byte(rpmSpec(version, stage, files)), 0o600); err != nil {
		return err
	}
	cmd := exec.Command("rpmbuild", "-bb", "--quiet", "--nodeps", "--target", machine+"-linux", "--define", "_topdir "+top, "--define", "_rpmdir "+top, spec)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()), "LC_ALL=C")
	if err := run(cmd); err != nil {
		return err
	}
	name := fmt.Sprintf("gpdedup-%s-1.%s.rpm", version, machine)
	content, err := os.ReadFile(filepath.Join(top, machine, name))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, name), content, 0o644) //nolint:gosec // for everybody
}

// rpmSpec says what rpmbuild is to pack. Nothing is built, stripped or looked into; gzip
// is what the rpm of every distribution reads.
func rpmSpec(version, stage string, files []file) string {
	var b strings.Builder
	for _, define := range []string{
		"debug_package %{nil}", "__os_install_post %{nil}", "_build_id_links none", "_binary_payload w9.gzdio",
		"_source_filedigest_algorithm 8", "_binary_filedigest_algorithm 8", "_buildhost reproducible",
		"use_source_date_epoch_as_buildtime 1", "clamp_mtime_to_source_date_epoch 1", "source_date_epoch_from_changelog 0",
	} {
		fmt.Fprintf(&b, "%%define %s\n", define)
	}
	fmt.Fprintf(&b, "Name: gpdedup\nVersion: %s\nRelease: 1\nSummary: %s\nLicense: Apache-2.0\nURL: %s\nAutoReqProv: no\n", version, summary, homepage)
	fmt.Fprintf(&b, "\n%%description\n%s\n\n%%install\ncp -a %s/. %%{buildroot}/\n\n%%files\n%%defattr(-,root,root,-)\n", strings.Join(about(), "\n"), stage)
	for _, dir := range directories(files) {
		if strings.HasPrefix(dir, docDir) { // all others are the system's
			fmt.Fprintf(&b, "%%dir /%s\n", dir)
		}
	}
	for _, f := range files {
		mark := ""
		switch {
		case f.path == docDir+"/LICENSE" || strings.HasSuffix(f.path, "_LICENSES"):
			mark = "%license "
		case strings.HasPrefix(f.path, docDir):
			mark = "%doc "
		}
		fmt.Fprintf(&b, "%s%%attr(%o,root,root) /%s\n", mark, f.mode, f.path)
	}
	return b.String()
}
