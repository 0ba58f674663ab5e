# Completes each line of standard input as bash does: words come apart at = and :.
source "$1"
while IFS= read -r line; do
	COMP_WORDS=()
	for word in $line; do
		while [[ $word =~ ^([^=:]*)([=:]+)(.*)$ ]]; do
			[[ ${BASH_REMATCH[1]} ]] && COMP_WORDS+=("${BASH_REMATCH[1]}")
			COMP_WORDS+=("${BASH_REMATCH[2]}")
			word=${BASH_REMATCH[3]}
		done
		[[ $word ]] && COMP_WORDS+=("$word")
	done
	[[ $line == *' ' ]] && COMP_WORDS+=('')
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
	_gpdedup
	echo "${COMPREPLY[*]}"
done
