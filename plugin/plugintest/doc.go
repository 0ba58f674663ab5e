// Package plugintest tests the test: plugin_test.sh, at the top of the tree, says whether an executable keeps the
// contract of gpbackup's storage plugins, and a check that cannot fail would say so of anything.
//
// The package has no code but its tests. They run plugin_test.sh against the command in reference, a plain correct
// plugin, which must pass, and against the same command with one defect at a time, which must fail, with the right check
// named. Every check of the script must be failed by some defect.
package plugintest
