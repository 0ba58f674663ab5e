# Completes the word at hand. The words before it say which command it belongs to.
_gpdedup() {
	local IFS=$' \t\n' word cur prev='' i before='' path='' skip=''
	local commands flags args value='' reply
	local -a words=()
	COMPREPLY=()

	# Bash takes words apart at = and :, which belong to locations and values.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((i > 1)) && { [[ $word == [=:]* ]] || [[ $before == *[=:] && ${COMP_WORDS[i-1]} == [=:]* ]]; }; then
			words[${#words[@]} - 1]+=$word
		else
			words+=("$word")
		fi
		before=${words[${#words[@]} - 1]}
	done
	cur=${words[${#words[@]} - 1]}
	((${#words[@]} > 1)) || return 0
	((${#words[@]} > 2)) && prev=${words[${#words[@]} - 2]}

	_gpdedup_command ''
	for word in "${words[@]:1:${#words[@]}-2}"; do
		if [[ $skip ]]; then
			skip=
		elif [[ $word == -* ]]; then
			_gpdedup_value "$word" && [[ $value != none ]] && skip=1
		elif [[ $commands && " $commands " == *" $word "* ]]; then
			path="${path:+$path }$word"
			_gpdedup_command "$path"
		elif [[ $args == command ]]; then
			path="${path:+$path }$word"
		fi
	done

	local prefix=''
	if [[ $cur == --*=* ]]; then
		_gpdedup_value "${cur%%=*}" || return 0
		prefix=${cur%%=*}= cur=${cur#*=}
	elif [[ $prev == -* && $prev != *=* ]] && _gpdedup_value "$prev" && [[ $value != none ]]; then
		:
	elif [[ $cur == -* ]]; then
		value=
		for word in $flags $_gpdedup_global; do
			value+=" ${word%%:*}"
		done
	elif [[ $commands ]]; then
		value=" $commands"
	elif [[ $args == command ]]; then
		path=${path#help}
		path=${path#man}
		_gpdedup_command "${path# }"
		value=" $commands"
	else
		value=$args
	fi

	case $value in
	none | any | '') return 0 ;;
	file | dir)
		compopt -o filenames 2>/dev/null
		reply=-f
		[[ $value == dir ]] && reply=-d
		while IFS= read -r word; do
			COMPREPLY+=("$word")
		done < <(compgen "$reply" -- "$cur")
		;;
	*)
		# Words, all of them without blanks.
		for word in ${value//,/ }; do
			[[ $word == "$cur"* ]] && COMPREPLY+=("$word")
		done
		;;
	esac

	# Bash replaces what follows the last = or :, if it takes words apart there.
	[[ $COMP_WORDBREAKS == *=* ]] && prefix=
	local colon=''
	[[ $COMP_WORDBREAKS == *:* && $cur == *:* ]] && colon=${cur%"${cur##*:}"}
	for i in "${!COMPREPLY[@]}"; do
		COMPREPLY[i]=$prefix${COMPREPLY[i]#"$colon"}
	done
}

# Sets value to what the flag $1 takes: none, any, file, dir, or a list of words.
_gpdedup_value() {
	local f
	for f in $flags $_gpdedup_global; do
		if [[ ${f%%:*} == "$1" ]]; then
			value=${f#*:}
			return 0
		fi
	done
	return 1
}

complete -F _gpdedup gpdedup
