// What a ledger must know of one limit: how it counts, and what makes its counts those of another limit. Made once for
// a snapshot of the configuration; charges refer to it.

internal import PosternMail

/// What counts are kept under. A limit whose shape changes starts anew; its amounts, action and block may change while
/// its counts stay.
public struct LimitShape: Hashable, Sendable {
    public let name: String
    /// The attributes of the key and the lengths of its networks, as text.
    public let per: String
    public let count: LimitCount
    /// In milliseconds, in the order of `allow`.
    public let spans: [Int64]
    public let window: LimitWindow
    /// Its amounts need 64 bits.
    public let isWide: Bool

    /// Most spans of a limit, and longest: what a journal may say (LimitTable has the same bounds for the configuration).
    public static let maxSpans = 8
    public static let maxSpan: Int64 = 31 * 86_400_000

    /// How long something counts in a span at most: a cell longer than the span, or as anvil(8) does, which lets a window
    /// go when it is older than its length in whole seconds.
    func longest(_ span: Int) -> Int64 {
        window == .fixed ? (spans[span] / 1000 + 1) * 1000 : Int64(LimitSlab.cells) * LimitSlab.cell(of: spans[span])
    }

    /// - Returns: nil for what no configuration says.
    public init?(name: String, per: String, count: LimitCount, spans: [Int64], window: LimitWindow, isWide: Bool) {
        guard (1...Self.maxSpans).contains(spans.count), spans.allSatisfy({ (1...Self.maxSpan).contains($0) }) else {
            return nil
        }
        self.init(name, per, count, spans, window, isWide: isWide)
    }

    fileprivate init(
        _ name: String, _ per: String, _ count: LimitCount, _ spans: [Int64], _ window: LimitWindow, isWide: Bool
    ) {
        self.name = name
        self.per = per
        self.count = count
        self.spans = spans
        self.window = window
        self.isWide = isWide
    }
}

/// One limit as a ledger sees it.
public final class LimitTerms: Sendable {
    public let shape: LimitShape
    /// `shape.text`, made once.
    public let shapeText: [UInt8]
    /// What each span allows.
    public let amounts: [Int]
    /// A request that goes over is refused. Else (shadow, hold) it goes on, and only this limit is not charged.
    public let isBinding: Bool
    /// In percent.
    public let warnAt: Int?
    public let block: Duration
    /// A recipient or its domain is in the key: one message has several keys.
    public let isPerRecipient: Bool
    /// Its place among the limits of its snapshot.
    public let number: Int

    /// - Parameter isShadow: the whole suite only observes.
    public init(_ settings: LimitSettings, number: Int, isShadow: Bool = false) {
        let per = settings.per.map { attribute in
            attribute == .client ? "client/\(settings.ipv4Prefix)/\(settings.ipv6Prefix)" : attribute.rawValue
        }
        // The configuration reads 1 to 8 spans of a second to 31 days.
        let rates = settings.allow.prefix(LimitShape.maxSpans)
        precondition(!rates.isEmpty, "a limit allows something in a time")
        shape = LimitShape(
            settings.name, per.joined(separator: ","), settings.count,
            rates.map { min(max($0.span.nanoseconds / 1_000_000, 1), LimitShape.maxSpan) }, settings.window,
            isWide: rates.contains { $0.amount > Int(UInt32.max) })
        shapeText = Array(shape.text.utf8)
        amounts = rates.map(\.amount)
        switch settings.action {
        case .reject, .defer: isBinding = !settings.shadow && !isShadow
        default: isBinding = false
        }
        warnAt = settings.warnAt
        block = settings.block
        isPerRecipient = settings.isPerRecipient
        self.number = number
    }
}

/// What amounts are kept for, as text: the values of `per`, joined by commas. Lower case; everything that is not printable
/// ASCII, commas and percent signs are `%XX`.
public struct LimitKey: Hashable, Sendable {
    public let octets: [UInt8]

    /// A value counts by as many octets: longer than any address (RFC 5321 §4.5.3.1).
    public static let maxValueOctets = 320
    /// Values escaped, and the commas between them.
    public static let maxOctets = LimitAttribute.allCases.count * (3 * maxValueOctets + 1)

    public init(octets: [UInt8]) { self.octets = octets }

    /// As it was shown; for the CLI.
    public init(text: String) { octets = Array(text.utf8.prefix(Self.maxOctets)).map(\.asciiLowercased) }

    /// Adds one value.
    static func append(_ value: some Collection<UInt8>, to octets: inout [UInt8]) {
        if !octets.isEmpty { octets.append(UInt8(ascii: ",")) }
        for octet in value.prefix(maxValueOctets) {
            switch octet {
            case UInt8(ascii: ","), UInt8(ascii: "%"), 0...0x20, 0x7F...0xFF:
                octets.append(UInt8(ascii: "%"))
                octets.append(hexDigit(octet >> 4))
                octets.append(hexDigit(octet & 15))
            default: octets.append(octet.asciiLowercased)
            }
        }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x61 + value - 10 }
}

extension LimitKey: CustomStringConvertible {
    public var description: String { String(decoding: octets, as: UTF8.self).printable }
}
