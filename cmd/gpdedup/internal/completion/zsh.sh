# Completes the word at hand. The words before it say which command it belongs to.
_gpdedup() {
	local word cur=${words[CURRENT]} prev=${words[CURRENT-1]} at='' value='' MATCH MBEGIN MEND
	local -a commands flags args list
	local -i skip=0

	_gpdedup_command ''
	for word in ${words[2,CURRENT-1]}; do
		if ((skip)); then
			skip=0
		elif [[ $word == -* ]]; then
			_gpdedup_value "$word" && [[ $value != none ]] && skip=1
		elif ((${#commands} && ${commands[(I)${word}:*]})); then
			at="${at:+$at }$word"
			_gpdedup_command "$at"
		elif [[ $args == command ]]; then
			at="${at:+$at }$word"
		fi
	done

	if [[ $cur == --*=* ]]; then
		_gpdedup_value "${cur%%=*}" || return 1
		compset -P '*='
	elif ((CURRENT > 2)) && [[ $prev == -* && $prev != *=* ]] && _gpdedup_value "$prev" && [[ $value != none ]]; then
		:
	elif [[ $cur == -* ]]; then
		list=()
		for word in $flags $_gpdedup_global; do
			list+=("${word%%:*}:${word#*:*:}")
		done
		_describe -o 'flag' list
		return
	elif ((${#commands})); then
		_describe 'command' commands
		return
	elif [[ $args == command ]]; then
		at=${${at#help}#man}
		_gpdedup_command "${at# }"
		((${#commands})) && _describe 'command' commands
		return
	else
		value=$args
	fi

	case $value in
	none | any | '') return 1 ;;
	file) _files ;;
	dir) _files -/ ;;
	*) list=(${(s:,:)value}) && compadd -a list ;;
	esac
}

# Sets value to what the flag $1 takes: none, any, file, dir, or a list of words.
_gpdedup_value() {
	local f
	for f in $flags $_gpdedup_global; do
		if [[ ${f%%:*} == "$1" ]]; then
			value=${${f#*:}%%:*}
			return 0
		fi
	done
	return 1
}

# Both as a file of fpath, where the file is the function, and where it is sourced.
if [[ $funcstack[1] == _gpdedup ]]; then
	_gpdedup "$@"
elif (($+functions[compdef])); then
	compdef _gpdedup gpdedup
fi
