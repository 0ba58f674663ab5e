# Completes each line of standard input.
source $argv[1]
while read -l line
    echo (complete -C "$line" | string replace -r '\t.*' '')
end
exit 0
