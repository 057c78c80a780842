# Runs one program at a time for a test and outlives neither: our stdin is a pipe held by the test process, so it
# ends when that process does, however it ends. Then the program gets its last signal and the directory is removed.
# $1: the directory; $2: the last signal. Commands on stdin: "run N" and N lines of arguments; "signal NAME".
# Answers on stdout: "started PID", "exited CODE" (128 + signal, as a shell counts).
d=$1 last=$2
trap '' PIPE
mkfifo "$d/fifo"

start() {
    rm -f "$d/exited"
    (
        "$@" </dev/null >>"$d/log" 2>&1 &
        echo "$!" >"$d/fifo"
        echo "started $!"
        wait "$!"
        code=$?
        : >"$d/exited"
        echo "exited $code"
    ) &
    read -r pid <"$d/fifo"
}

# Never to a process that is gone: its number may belong to somebody else by now.
signal() {
    [ -z "$pid" ] || [ -e "$d/exited" ] || kill -s "$1" "$pid"
}

pid=
while read -r word argument; do
    case $word in
    run)
        set --
        while [ "$argument" -gt 0 ]; do
            IFS= read -r line || break 2
            set -- "$@" "$line"
            argument=$((argument - 1))
        done
        start "$@"
        ;;
    signal) signal "$argument" ;;
    esac
done
signal "$last"
wait
# A process whose parent was killed may need a moment more to go.
rm -rf "$d" || { sleep 1; rm -rf "$d"; }
