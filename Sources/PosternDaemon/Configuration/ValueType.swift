// The types that keys can have. A type knows how to read a TOML value, how to write one, and what to tell the admin who
// wrote something else. New tables are made of these; a new type is needed only where a key means something new.

/// A value's text does not fit its type; `text` says `expected …, found …`.
struct Unfit: Error {
    let text: String

    init(_ text: String) { self.text = text }
    init(expected: String, found: some StringProtocol) { text = "expected \(expected), found \(quoted(found))" }
}

/// How values of one type are read from TOML and written as TOML.
struct ValueType<Value: Sendable>: Sendable {
    /// Reads the node, or reports why it cannot and returns nil.
    let read: @Sendable (TomlNode, inout ValueReader) -> Value?
    /// The value as TOML writes it.
    let write: @Sendable (Value) -> String
}

/// How values are read from and written as a line of text: a TOML string, or a line of a `file:` list.
struct TextType<Value: Sendable>: Sendable {
    /// What follows "expected" when something else than a string came.
    let expectation: String
    let parse: @Sendable (String) throws(Unfit) -> Value
    /// The text, without quotes.
    let write: @Sendable (Value) -> String
    /// Whether a list may hold it as an integer as well.
    let takesIntegers: Bool

    init(
        _ expectation: String, takesIntegers: Bool = false, parse: @escaping @Sendable (String) throws(Unfit) -> Value,
        write: @escaping @Sendable (Value) -> String
    ) {
        self.expectation = expectation
        self.parse = parse
        self.write = write
        self.takesIntegers = takesIntegers
    }
}

extension ValueType {
    /// A string.
    static func text(_ type: TextType<Value>) -> ValueType {
        ValueType(
            read: { node, reader in
                guard case .string(let text) = node.value else {
                    reader.report("expected \(type.expectation), found \(node.found)", at: node.position)
                    return nil
                }
                do throws(Unfit) {
                    return try type.parse(text)
                } catch {
                    reader.report(error.text, at: node.position)
                    return nil
                }
            },
            write: { tomlString(type.write($0)) })
    }

    /// One of an enumeration's raw values.
    static func oneOf(_ type: Value.Type = Value.self) -> ValueType
    where Value: RawRepresentable<String> & CaseIterable { text(.oneOf(type)) }

    /// One of some words.
    static func oneOf(_ words: [(String, Value)], name: @escaping @Sendable (Value) -> String) -> ValueType {
        text(.oneOf(words, name: name))
    }

    /// The same values held as another type.
    func map<Other: Sendable>(
        _ make: @escaping @Sendable (Value) -> Other, back: @escaping @Sendable (Other) -> Value?
    ) -> ValueType<Other> {
        ValueType<Other>(
            read: { node, reader in read(node, &reader).map(make) },
            write: { back($0).map(write) ?? "" })
    }

    /// A value, or nil where the key is absent.
    static func optional<Wrapped>(_ type: ValueType<Wrapped>) -> ValueType where Value == Wrapped? {
        ValueType(
            read: { node, reader in type.read(node, &reader).map { $0 } },
            write: { $0.map(type.write) ?? "" })
    }
}

extension TextType {
    /// One of an enumeration's raw values.
    static func oneOf(_ type: Value.Type = Value.self) -> TextType
    where Value: RawRepresentable<String> & CaseIterable {
        oneOf(Value.allCases.map { ($0.rawValue, $0) }, name: \.rawValue)
    }

    /// One of some words.
    static func oneOf(_ words: [(String, Value)], name: @escaping @Sendable (Value) -> String) -> TextType {
        let expectation = alternatives(words.map { "\"\($0.0)\"" })
        return TextType(expectation) { text throws(Unfit) in
            guard let word = words.first(where: { $0.0 == text }) else {
                throw Unfit(expected: expectation, found: text)
            }
            return word.1
        } write: {
            name($0)
        }
    }
}

/// `a, b or c`.
func alternatives(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " or " + last
}

extension ValueType<Bool> {
    static let boolean = ValueType(
        read: { node, reader in
            guard case .boolean(let flag) = node.value else {
                reader.report("expected true or false, found \(node.found)", at: node.position)
                return nil
            }
            return flag
        },
        write: { $0 ? "true" : "false" })
}

extension ValueType<Int> {
    static func integer(in bounds: ClosedRange<Int>) -> ValueType {
        ValueType(
            read: { node, reader in
                guard case .integer(let number) = node.value, let number = Int(exactly: number),
                    bounds.contains(number)
                else {
                    let expectation = "an integer from \(bounds.lowerBound) to \(bounds.upperBound)"
                    reader.report("expected \(expectation), found \(node.found)", at: node.position)
                    return nil
                }
                return number
            },
            write: { "\($0)" })
    }

    /// Octets: `"64MiB"`, or a plain integer.
    static func size(in bounds: ClosedRange<Int>) -> ValueType {
        let between = "from \(Quantity.size(bounds.lowerBound)) to \(Quantity.size(bounds.upperBound))"
        return ValueType(
            read: { node, reader in
                let octets: Int?
                switch node.value {
                case .integer(let number): octets = Int(exactly: number)
                case .string(let text): octets = Quantity.octets(text)
                default: octets = nil
                }
                guard let octets else {
                    let expectation = "a size such as \"64MiB\" (KiB, MiB, GiB or plain octets)"
                    reader.report("expected \(expectation), found \(node.found)", at: node.position)
                    return nil
                }
                guard bounds.contains(octets) else {
                    reader.report("expected a size \(between), found \(node.found)", at: node.position)
                    return nil
                }
                return octets
            },
            write: { "\"\(Quantity.size($0))\"" })
    }
}

extension ValueType<Duration> {
    /// `"300ms"`, `"90s"`, `"5m"`, `"2h"`, `"35d"`.
    static func duration(in bounds: ClosedRange<Duration>) -> ValueType {
        let between = "from \"\(Quantity.duration(bounds.lowerBound))\" to \"\(Quantity.duration(bounds.upperBound))\""
        let expectation = "a duration such as \"90s\" (ms, s, m, h or d)"
        return text(
            TextType(expectation) { text throws(Unfit) in
                guard let duration = Quantity.duration(text) else { throw Unfit(expected: expectation, found: text) }
                guard bounds.contains(duration) else { throw Unfit(expected: "a duration \(between)", found: text) }
                return duration
            } write: {
                Quantity.duration($0)
            })
    }
}
