# about: the mesh's core, in virtual time with real signatures: 1000 nodes, 65 536 stations
# examples: vdecable:mesh_core

measure() {
    local program=$ours/examples/mesh_core out=$work/mesh-core run
    group "a mesh of 1000 nodes with 4 cables each, at one of them"
    for run in $(seq "$RUNS"); do
        "$program" >"$out.$run"
        figure vdenode "records taken in" "$(field take_ms <"$out.$run")" ms
        figure vdenode "of these, one turn" "$(field turn_ms <"$out.$run")" ms
        figure vdenode "shortest paths" "$(field paths_ms <"$out.$run")" ms
        figure vdenode "shortest paths from one neighbour" "$(field trees_ms <"$out.$run")" ms
        figure vdenode memory "$(field memory_mb <"$out.$run")" MB
        figure vdenode "octets of records" "$(field octets <"$out.$run")" octets
    done
    goal vdenode "of these, one turn" '<= 1'
    goal vdenode "shortest paths" '<= 50'
    group "a new node, 20 ms away, learns of 65 536 stations of 8 nodes"
    for run in $(seq "$RUNS"); do
        figure vdenode "until it knows them" "$(field sync_s <"$out.$run")" s
        figure vdenode "processor time, new node" "$(field sync_cpu_ms <"$out.$run")" ms
        figure vdenode "processor time, its neighbour" "$(field sync_teacher_ms <"$out.$run")" ms
        figure vdenode "control messages in all" "$(field sync_mb <"$out.$run")" MB
    done
    goal vdenode "until it knows them" '<= 5'
}
