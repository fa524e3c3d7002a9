// Lists: an array of values, or of values and `"file:NAME"`, or one `"file:NAME"` alone. A file holds one value a line;
// empty lines and what follows `#` at a line's beginning or after white space are left out. NAME is relative to the
// configuration's folder.

internal import PosternMail

extension TomlNode {
    fileprivate var namesFile: Bool { if case .string(let text) = value { text.hasPrefix("file:") } else { false } }
}

extension TextType {
    /// The text that a value of a list gives; nil if it is of another type.
    fileprivate func text(of node: TomlNode) -> String? {
        switch node.value {
        case .string(let text): text
        case .integer(let number) where takesIntegers: "\(number)"
        default: nil
        }
    }
}

extension ValueType {
    /// A list in which no value stands twice.
    static func set<Element: Hashable>(of type: TextType<Element>, atLeast least: Int = 0) -> ValueType
    where Value == [Element] {
        let list = ValueType.list(of: type, atLeast: least)
        return ValueType(
            read: { node, reader in
                guard let values = list.read(node, &reader) else { return nil }
                var seen: Set<Element> = []
                for value in values where !seen.insert(value).inserted {
                    reader.report(
                        "expected each value once, found \(quoted(type.write(value))) twice", at: node.position)
                    return nil
                }
                return values
            },
            write: list.write)
    }

    /// A list, or one value alone for a list of one.
    static func oneOrMore<Element>(of type: TextType<Element>, atMost most: Int) -> ValueType
    where Value == [Element] {
        let list = ValueType.list(of: type, atLeast: 1, atMost: most)
        let one = ValueType<Element>.text(type)
        return ValueType(
            read: { node, reader in
                if case .array = node.value { return list.read(node, &reader) }
                return one.read(node, &reader).map { [$0] }
            },
            write: { values in
                guard let value = values.first, values.count == 1 else { return list.write(values) }
                return one.write(value)
            })
    }

    /// Longest list file, in octets: a few hundred thousand addresses.
    private static var maxListOctets: Int { 16 << 20 }

    /// - Parameter least: fewest values. A list with a file may be shorter: files are often filled later.
    /// - Parameter most: most values, those of files counted.
    static func list<Element>(
        of type: TextType<Element>, atLeast least: Int = 0, atMost most: Int = 10_000
    ) -> ValueType where Value == [Element] {
        ValueType(
            read: { node, reader in
                var collected: [Element]? = []
                var hasFile = false
                switch node.value {
                case .array(let elements):
                    for element in elements {
                        if element.namesFile { hasFile = true }
                        add(element, of: type, to: &collected, atMost: most, &reader)
                    }
                case .string where node.namesFile:
                    hasFile = true
                    add(node, of: type, to: &collected, atMost: most, &reader)
                default:
                    reader.report(
                        "expected a list of which each is \(type.expectation), or \"file:NAME\", found \(node.found)",
                        at: node.position)
                    return nil
                }
                guard let collected else { return nil }
                let least = hasFile ? 0 : least
                guard (least...most).contains(collected.count) else {
                    let bound = collected.count < least ? "at least \(least)" : "at most \(most)"
                    reader.report("expected \(bound) values, found \(collected.count)", at: node.position)
                    return nil
                }
                return collected
            },
            write: { values in "[" + values.map { tomlString(type.write($0)) }.joined(separator: ", ") + "]" })
    }

    /// Adds the value of one node, or all values of the file that it names. `list` becomes nil once one is wrong; the
    /// others are read all the same, so that every problem is told.
    private static func add<Element>(
        _ node: TomlNode, of type: TextType<Element>, to list: inout [Element]?, atMost most: Int,
        _ reader: inout ValueReader
    ) {
        guard let text = type.text(of: node) else {
            reader.report("expected \(type.expectation), found \(node.found)", at: node.position)
            list = nil
            return
        }
        guard text.hasPrefix("file:") else {
            do throws(Unfit) {
                let value = try type.parse(text)
                list?.append(value)
            } catch {
                reader.report(error.text, at: node.position)
                list = nil
            }
            return
        }
        guard reader.opensFiles else { return }
        let path = reader.path(String(text.dropFirst("file:".count)))
        guard let octets = reader.octets(ofFile: path, cap: maxListOctets, at: node.position) else {
            list = nil
            return
        }
        for (line, column, text) in lines(of: octets) {
            guard (list?.count ?? 0) <= most else { return }  // one more than may be: reported by the caller
            do throws(Unfit) {
                guard let text else { throw Unfit("expected UTF-8, found other octets") }
                let value = try type.parse(text)
                list?.append(value)
            } catch {
                reader.report(error.text, inFile: path, line: line, column: column, anchor: node.position)
                list = nil
            }
        }
    }

    /// The lines that hold something, with their places; nil for one that is no UTF-8.
    private static func lines(of octets: [UInt8]) -> [(line: Int, column: Int, text: String?)] {
        var found: [(line: Int, column: Int, text: String?)] = []
        for (index, line) in octets.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            let content = withoutComment(line).trimmingFoldingWhiteSpace
            guard !content.isEmpty else { continue }
            found.append(
                (index + 1, content.startIndex - line.startIndex + 1, String(validating: content, as: UTF8.self)))
        }
        return found
    }

    private static func withoutComment(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var before: UInt8 = 0x20
        for (index, octet) in zip(line.indices, line) {
            if octet == 0x23, before.isFoldingWhiteSpace { return line[..<index] }
            before = octet
        }
        return line
    }
}
