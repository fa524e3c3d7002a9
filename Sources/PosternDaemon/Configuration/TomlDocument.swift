// The only Swift file that knows CToml: octets in, TomlNodes out. Caps on size and depth lie in CToml.h; a document
// beyond one is refused like one with a syntax error.

internal import CToml

/// Why octets are no TOML document.
struct TomlSyntaxError: Error, Hashable, Sendable {
    let position: SourcePosition
    let text: String
}

enum TomlDocument {
    /// - Parameter octets: a whole document, UTF-8.
    /// - Returns: the root table.
    /// - Source: TOML 1.0.
    static func parse(_ octets: [UInt8]) throws(TomlSyntaxError) -> TomlTable {
        var error = postern_toml_error()
        let opened = octets.withUnsafeBufferPointer { postern_toml_open($0.baseAddress, $0.count, &error) }
        guard let opened else { throw syntaxError(error) }
        defer { postern_toml_close(opened) }
        var count = 0
        let nodes = postern_toml_nodes(opened, &count)
        var walk = NodeWalk(nodes: UnsafeBufferPointer(start: nodes, count: count))
        guard case .table(let root) = walk.next().node.value else {
            throw TomlSyntaxError(position: .start, text: "expected a table at the document's root")
        }
        return root
    }

    private static func syntaxError(_ error: postern_toml_error) -> TomlSyntaxError {
        let text = withUnsafeBytes(of: error.text) { octets in
            String(decoding: octets.prefix { $0 != 0 }, as: UTF8.self)
        }
        return TomlSyntaxError(position: SourcePosition(error.line, error.column), text: text)
    }
}

/// Makes a tree of the flat list. Depth is bounded by CToml's caps: 16 parts in a key, 32 values in each other.
private struct NodeWalk {
    let nodes: UnsafeBufferPointer<postern_toml_node>
    var index = 0

    init(nodes: UnsafeBufferPointer<postern_toml_node>) { self.nodes = nodes }

    /// The next node with all below it. The list is CToml's own, complete and in document order.
    mutating func next() -> (key: String?, keyPosition: SourcePosition, node: TomlNode) {
        precondition(index < nodes.count, "CToml promises each node its children")
        let raw = nodes[index]
        index += 1
        let value: TomlNode.Value =
            switch Int(raw.kind) {
            case POSTERN_TOML_TABLE: .table(TomlTable(entries: entries(raw.children)))
            case POSTERN_TOML_ARRAY: .array((0..<raw.children).map { _ in next().node })
            case POSTERN_TOML_STRING: .string(text(raw.text, raw.text_octets))
            case POSTERN_TOML_INTEGER: .integer(raw.integer)
            case POSTERN_TOML_FLOAT: .float(raw.real)
            case POSTERN_TOML_BOOLEAN: .boolean(raw.boolean != 0)
            default: .dateTime(text(raw.text, raw.text_octets))
            }
        let key = raw.key.map { text($0, raw.key_octets) }
        let node = TomlNode(value: value, position: SourcePosition(raw.line, raw.column))
        return (key, SourcePosition(raw.key_line, raw.key_column), node)
    }

    private mutating func entries(_ count: Int) -> [TomlTable.Entry] {
        (0..<count).map { _ in
            let child = next()
            return TomlTable.Entry(key: child.key ?? "", keyPosition: child.keyPosition, node: child.node)
        }
    }

    private func text(_ pointer: UnsafePointer<CChar>?, _ count: Int) -> String {
        String(decoding: UnsafeRawBufferPointer(start: pointer, count: count), as: UTF8.self)
    }
}

extension SourcePosition {
    fileprivate init(_ line: UInt32, _ column: UInt32) {
        self.init(line: Int(line), column: Int(column))
    }
}
