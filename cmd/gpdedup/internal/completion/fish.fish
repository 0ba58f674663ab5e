# The path of the command that is being typed, without flags.
function __gpdedup_path
    set -l words (commandline -opc)
    set -e words[1]
    set -l path
    set -l skip 0
    for word in $words
        if test $skip = 1
            set skip 0
        else if string match -q -- '-*' $word
            if contains -- $word $__gpdedup_valued
                set skip 1
            end
        else if contains -- (string join ' ' $path $word) $__gpdedup_commands
            set -a path $word
        else if contains -- (string join ' ' $path) $__gpdedup_commands
            # An argument: the command is complete.
            break
        end
    end
    string join ' ' $path
end

# Whether the command that is being typed is $argv[1].
function __gpdedup_is
    set -l path (__gpdedup_path)
    test "$path" = "$argv[1]"
end

# Whether it is $argv[1] or one below it.
function __gpdedup_in
    set -l path (__gpdedup_path)
    test "$path" = "$argv[1]"; or string match -q -- "$argv[1] *" $path
end

# The commands below that whose words follow help or man.
function __gpdedup_below
    set -l words (commandline -opc)
    set -l path
    set -l seen 0
    for word in $words[2..-1]
        if test $seen = 1
            set -a path $word
        else if contains -- $word help man
            set seen 1
        end
    end
    set -l prefix (string join ' ' $path)
    for command in $__gpdedup_commands
        set -l rest $command
        if test -n "$prefix"
            string match -q -- "$prefix *" $command; or continue
            set rest (string sub -s (math (string length -- $prefix) + 2) -- $command)
        end
        string match -q -- '* *' $rest; or test -z "$rest"; or echo $rest
    end
end

complete -c gpdedup -e
complete -c gpdedup -f
