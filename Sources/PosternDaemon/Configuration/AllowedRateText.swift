// What a limit allows: `"200/1h"`, an amount in a span of time. The amount is a number, or a size where octets are
// counted: `"1GiB/1d"`.

internal import PosternAdmission
internal import PosternMail

/// A rate with how its amount is written, which must go with what is counted.
struct WrittenRate: Hashable, Sendable {
    let rate: AllowedRate
    let hasUnit: Bool
}

extension TextType<WrittenRate> {
    private static let expectation = "an amount in a time such as \"200/1h\" or \"1GiB/1d\""
    private static let spans: ClosedRange<Duration> = .seconds(1) ... .seconds(31 * 86_400)
    private static let maxAmount = 1 << 50

    static let rate = TextType(expectation) { text throws(Unfit) in
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let first = parts.first, let last = parts.last,
            let amount = Quantity.octets(String(first)), let span = Quantity.duration(String(last))
        else { throw Unfit(expected: expectation, found: text) }
        guard (1...maxAmount).contains(amount) else {
            throw Unfit(expected: "an amount from 1 to \(maxAmount)", found: text)
        }
        guard spans.contains(span) else {
            let bounds = "from \"\(Quantity.duration(spans.lowerBound))\" to \"\(Quantity.duration(spans.upperBound))\""
            throw Unfit(expected: "a time \(bounds) behind the slash", found: text)
        }
        return WrittenRate(
            rate: AllowedRate(amount: amount, span: span), hasUnit: !first.utf8.allSatisfy(\.isASCIIDigit))
    } write: { written in
        let amount = written.hasUnit ? Quantity.size(written.rate.amount) : "\(written.rate.amount)"
        return "\(amount)/\(Quantity.duration(written.rate.span))"
    }
}

extension TextType<Int> {
    /// `"80%"`.
    static let percentage = TextType("a share such as \"80%\"") { text throws(Unfit) in
        let digits = text.utf8.dropLast()
        guard text.hasSuffix("%"), (1...3).contains(digits.count), digits.allSatisfy(\.isASCIIDigit),
            let share = Int(text.dropLast()), (1...100).contains(share)
        else { throw Unfit(expected: "a share from \"1%\" to \"100%\"", found: text) }
        return share
    } write: {
        "\($0)%"
    }
}
