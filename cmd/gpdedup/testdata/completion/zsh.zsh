# Completes each line of standard input in an interactive zsh, with its own completion
# system, and prints what that was offered.
zmodload zsh/zpty
zpty shell "TERM=dumb zsh -f -i"
zpty -w shell "autoload -Uz compinit && compinit -D -u; source ${(q)1}; source ${(q)2}; print ready''"
zpty -r -m shell line $'*ready\r*'
while IFS= read -r line; do
	zpty -w -n shell "$line"$'\t'
	zpty -r -m shell answer $'*<<<*>>>*'
	answer=${${answer##*<<<}%%>>>*}
	print -r -- ${${answer//[$'\r\n']/ }%% }
	zpty -w -n shell $'\C-u'
done
zpty -d shell
