# What is offered is printed between <<< and >>>.
PROMPT= RPROMPT= LISTMAX=0
unsetopt zle_bracketed_paste prompt_sp 2>/dev/null
bindkey '^U' kill-whole-line
bindkey '^I' complete-word
compadd() {
	if [[ " $* " == *' -'[OAD]' '* ]]; then
		builtin compadd "$@"
		return
	fi
	local -a hits
	builtin compadd -A hits "$@"
	offered+=($hits)
	builtin compadd "$@"
}
typeset -ga offered
begin() { offered=() }
finish() {
	print -rn -- "<<<${(u)offered}>>>"
	watch_completion
}
watch_completion() { compprefuncs=(begin) comppostfuncs=(finish) } # each is called once
watch_completion
