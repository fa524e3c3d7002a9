// Parts of a daemon's document for people. What a daemon or a stranger has written is shown without controls.

internal import PosternDaemon

extension ControlDocument {
    /// A text for a terminal; `unknown` where there is none.
    func word(_ key: String) -> String { shown(key) ?? "unknown" }

    /// A text for a terminal; nil where there is none.
    func shown(_ key: String) -> String? { self[key]?.text.map(DaemonControl.printable) }

    /// The texts of a list, for a terminal.
    func words(_ key: String) -> [String] {
        (self[key]?.elements ?? []).compactMap { $0.text.map(DaemonControl.printable) }
    }

    /// A number; 0 where there is none.
    func count(_ key: String) -> Int64 { self[key]?.number ?? 0 }

    /// Whether it is there and true.
    func holds(_ key: String) -> Bool { self[key] == .boolean(true) }
}
