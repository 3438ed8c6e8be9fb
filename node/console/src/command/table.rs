//! The table of commands, in the order in which `help` prints them and a line is matched.

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    DsShowinfo,
    Help,
    Logout,
    Shutdown,
    Showinfo,
    Load,
    DebugList,
    DebugAdd,
    DebugDel,
    PluginList,
    PluginAdd,
    PluginDel,
    HashShowinfo,
    HashSetsize,
    HashSetgcint,
    HashSetexpire,
    HashSetminper,
    HashPrint,
    HashFind,
    FstpShowinfo,
    FstpSetfstp,
    FstpSetedge,
    FstpBonus,
    FstpPrint,
    PortShowinfo,
    PortSetnumports,
    PortSethub,
    PortSetvlan,
    PortCreateauto,
    PortCreate,
    PortRemove,
    PortAllocatable,
    PortSetuser,
    PortSetgroup,
    PortEpclose,
    PortResetcounter,
    PortPrint,
    PortAllprint,
    VlanCreate,
    VlanRemove,
    VlanAddport,
    VlanDelport,
    VlanPrint,
    VlanAllprint,
}

/// Whether the answer has a block of data, even when the command fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    Yes,
    No,
}

/// One row.
pub(super) struct Row {
    pub(super) path: &'static str,
    pub(super) syntax: &'static str,
    pub(super) help: &'static str,
    /// `None`: the title of a menu, which is no command.
    pub(super) word: Option<(Word, Block)>,
}

const fn menu(path: &'static str, help: &'static str) -> Row {
    Row { path, syntax: "============", help, word: None }
}

const fn does(path: &'static str, syntax: &'static str, help: &'static str, word: Word) -> Row {
    Row { path, syntax, help, word: Some((word, Block::No)) }
}

const fn shows(path: &'static str, syntax: &'static str, help: &'static str, word: Word) -> Row {
    Row { path, syntax, help, word: Some((word, Block::Yes)) }
}

#[rustfmt::skip]
pub(super) static TABLE: [Row; 51] = [
    menu("ds", "DATA SOCKET MENU"),
    shows("ds/showinfo", "", "show ds info", Word::DsShowinfo),
    shows("help", "[arg]", "Help (limited to arg when specified)", Word::Help),
    does("logout", "", "logout from this mgmt terminal", Word::Logout),
    does("shutdown", "", "shutdown of the switch", Word::Shutdown),
    shows("showinfo", "", "show switch version and info", Word::Showinfo),
    does("load", "path", "load a configuration script", Word::Load),
    menu("debug", "DEBUG MENU"),
    shows("debug/list", "", "list debug categories", Word::DebugList),
    does("debug/add", "dbgpath", "enable debug info for a given category", Word::DebugAdd),
    does("debug/del", "dbgpath", "disable debug info for a given category", Word::DebugDel),
    menu("plugin", "PLUGINS MENU"),
    shows("plugin/list", "", "list plugins", Word::PluginList),
    does("plugin/add", "library", "load a plugin", Word::PluginAdd),
    does("plugin/del", "name", "unload a plugin", Word::PluginDel),
    menu("hash", "HASH TABLE MENU"),
    shows("hash/showinfo", "", "show hash info", Word::HashShowinfo),
    does("hash/setsize", "N", "change hash size", Word::HashSetsize),
    does("hash/setgcint", "N", "change garbage collector interval", Word::HashSetgcint),
    does("hash/setexpire", "N", "change hash entries expire time", Word::HashSetexpire),
    does("hash/setminper", "N", "minimum persistence time", Word::HashSetminper),
    shows("hash/print", "", "print the hash table", Word::HashPrint),
    shows("hash/find", "MAC [VLAN]", "MAC lookup", Word::HashFind),
    menu("fstp", "FAST SPANNING TREE MENU"),
    shows("fstp/showinfo", "", "show fstp info", Word::FstpShowinfo),
    shows("fstp/setfstp", "0/1", "Fast spanning tree protocol 1=ON 0=OFF", Word::FstpSetfstp),
    does("fstp/setedge", "VLAN PORT 1/0", "Define an edge port for a vlan 1=Y 0=N", Word::FstpSetedge),
    does("fstp/bonus", "VLAN PORT COST", "set the port bonus for a vlan", Word::FstpBonus),
    shows("fstp/print", "[N]", "print fst data for the defined vlan", Word::FstpPrint),
    menu("port", "PORT STATUS MENU"),
    shows("port/showinfo", "", "show port info", Word::PortShowinfo),
    does("port/setnumports", "N", "set the number of ports", Word::PortSetnumports),
    does("port/sethub", "0/1", "1=HUB 0=switch", Word::PortSethub),
    does("port/setvlan", "N VLAN", "set port VLAN (untagged)", Word::PortSetvlan),
    // Before port/create, which is its beginning.
    shows("port/createauto", "", "create a port with an automatically allocated id (inactive|notallocatable)", Word::PortCreateauto),
    does("port/create", "N", "create the port N (inactive|notallocatable)", Word::PortCreate),
    does("port/remove", "N", "remove the port N", Word::PortRemove),
    does("port/allocatable", "N 0/1", "Is the port allocatable as unnamed? 1=Y 0=N", Word::PortAllocatable),
    does("port/setuser", "N user", "access control: set user", Word::PortSetuser),
    does("port/setgroup", "N user", "access control: set group", Word::PortSetgroup),
    does("port/epclose", "N ID", "remove the endpoint port N/id ID", Word::PortEpclose),
    does("port/resetcounter", "[N]", "reset the port (N) counters", Word::PortResetcounter),
    shows("port/print", "[N]", "print the port/endpoint table", Word::PortPrint),
    shows("port/allprint", "[N]", "print the port/endpoint table (including inactive port)", Word::PortAllprint),
    menu("vlan", "VLAN MANAGEMENT MENU"),
    does("vlan/create", "N", "create the VLAN with tag N", Word::VlanCreate),
    does("vlan/remove", "N", "remove the VLAN with tag N", Word::VlanRemove),
    does("vlan/addport", "N PORT", "add port to the vlan N (tagged)", Word::VlanAddport),
    does("vlan/delport", "N PORT", "delete port from the vlan N (tagged)", Word::VlanDelport),
    shows("vlan/print", "[N]", "print the list of defined vlan", Word::VlanPrint),
    shows("vlan/allprint", "[N]", "print the list of defined vlan (including inactive port)", Word::VlanAllprint),
];
